"""Run the studies that are missing, and put their cells together."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from epsvae.map.data import load_map_data
from epsvae.study.ablations import ablation_cells
from epsvae.study.scaling import scaling_cells

log = logging.getLogger(__name__)


def run_study(arrays: dict[str, Path], cache: Path) -> dict[str, pd.DataFrame]:
    """Ablations and the scaling law of extracted libraries: a table each.

    `arrays` maps a library's name to the folder that `extract_library` wrote. Cells that are in
    `cache` are not computed again.
    """
    torch.set_num_threads(1)
    tables: dict[str, list[Path]] = {"ablations": [], "scaling": []}
    for library, folder in arrays.items():
        data = load_map_data(folder)
        for table, cells in (
            ("scaling", scaling_cells(cache, library, data)),
            ("ablations", ablation_cells(cache, library, data)),
        ):
            tables[table] += list(tqdm(cells, desc=f"{library}: {table}", unit="cell"))
    return {name: _together(paths) for name, paths in tables.items()}


def _together(paths: Iterable[Path]) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
