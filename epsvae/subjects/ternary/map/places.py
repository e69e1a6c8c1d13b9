"""Where the checkpoints of a release's libraries lie on its maps."""

from pathlib import Path

import numpy as np
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.map.release import open_release, z_of
from epsvae.subjects.ternary.metrics import METRICS
from epsvae.uses.similar import Places, columns


def release_places(folder: Path | str, library: str) -> Places:
    """Places of a library of a release, all splits, without reading a checkpoint; or of ``both``.

    Raises EpsvaeError if the release has no places of that library.
    """
    if not (Path(folder) / library / "z.parquet").is_file():
        raise EpsvaeError(
            f"{Path(folder) / library}: expected z.parquet, the places of a library, found none; "
            "a folder of checkpoints can be searched instead"
        )
    release = open_release(folder)
    keys = ["split", "run", "epoch"]  # names of runs say their library
    joined = release.latents(library).merge(release.index, on=keys, validate="1:1")
    table = joined.assign(measured=True, off_map=np.nan, flag=False)
    z = torch.from_numpy(z_of(joined))
    return Places(table[columns(METRICS)], z, METRICS)
