"""``python -m epsvae`` is ``epsvae``."""

from epsvae.cli import main

main()
