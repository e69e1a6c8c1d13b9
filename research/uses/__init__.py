"""What chapters of the seven uses need and a user does not call: choices and courses."""
