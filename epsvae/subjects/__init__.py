"""Families of networks that come with the package."""
