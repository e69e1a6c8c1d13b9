"""Checkpoints of ternary networks on disk: files, index, splits, extraction."""

from importlib import import_module
from typing import Any

_PLACES = {
    "COLUMNS": "index",
    "Checkpoint": "files",
    "DEFAULT_MAX_RADIUS": "files",
    "ExtractedSplit": "extracted",
    "INDEX": "index",
    "ImportedFolder": "index",
    "Layout": "layout",
    "MAX_RADIUS": "layout",
    "N_ANCHORS": "anchors",
    "RefusedFile": "index",
    "SPLITS": "splits",
    "SUFFIXES": "files",
    "all_layout": "layout",
    "anchor_counts": "anchors",
    "anchor_operations": "anchors",
    "assert_disjoint": "splits",
    "extract_key_weights": "layout",
    "extract_library": "extract",
    "import_folder": "index",
    "infer_architecture": "architecture",
    "key_layout": "layout",
    "load_checkpoint": "files",
    "load_split": "extracted",
    "read_index": "index",
    "save_checkpoint": "files",
    "sha256_of": "files",
    "temporal_split": "splits",
    "write_index": "index",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: who predicts need not load what extracts."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
