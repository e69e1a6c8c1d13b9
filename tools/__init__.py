"""What runs and renders the book: the runner and its checks, and the look of the figures."""
