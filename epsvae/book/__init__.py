"""The book as a program: run its chapters, check them, show their results."""
