"""Checkpoints of ternary networks on disk: files, index, splits, extraction."""

from epsvae.lazy import importer

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
__getattr__ = importer(__name__, _PLACES)  # who predicts need not load what extracts
