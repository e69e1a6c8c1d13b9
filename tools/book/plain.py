"""Run a command as on a processor without vector units: ``python -m tools.book.plain COMMAND …``.

Sums then keep another order, and `exp` rounds other last bits. What passes here and with the
machine's own vector units passes on any processor that lies between.
"""

import os
import sys
from collections.abc import Sequence

from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
    __cpu_dispatch__,
    __cpu_features__,
)

__all__ = ["main", "plain_environment"]


def plain_environment() -> dict[str, str]:
    """Variables that hold torch, MKL, oneDNN, NumPy, OpenBLAS and the C library to plain code."""
    dispatched = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    return {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NPY_DISABLE_CPU_FEATURES": " ".join(dispatched),
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
    }


def main(command: Sequence[str]) -> None:
    """Replace this process by the command."""
    if not command:
        raise SystemExit("usage: python -m tools.book.plain COMMAND [ARGUMENT …]")
    os.execvpe(command[0], list(command), os.environ | plain_environment())


if __name__ == "__main__":
    main(sys.argv[1:])
