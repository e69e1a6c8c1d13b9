"""What only this project's own libraries, protocol and studies need; no part of the package."""
