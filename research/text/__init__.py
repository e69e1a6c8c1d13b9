"""The text library: really trained transformers, many at a time."""
