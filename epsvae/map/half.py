"""Half precision for the large tensors of a map: they take half the room in its file.

They are rounded while a map is fitted, before anything is learned with them: what is on disk is
what was fitted and calibrated.
"""

from torch import Tensor

LARGEST = 6e4
"""Half precision ends shortly above."""


def rounded(x: Tensor) -> Tensor:
    """The nearest numbers that half precision holds, in the precision of x."""
    return x.clamp(-LARGEST, LARGEST).half().to(x.dtype)
