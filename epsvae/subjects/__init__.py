"""The families of networks that come with the package; each is one file behind the seam."""
