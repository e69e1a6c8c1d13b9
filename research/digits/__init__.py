"""The digits library: really trained runs of four networks; ``python -m research.digits OUT``."""
