"""Many long rows as short coordinates in a common basis, while the rows stream by.

Principal components of answers need no more memory than their basis: how many checkpoints went by
costs only their coordinates.
"""

import torch
from jaxtyping import Float
from torch import Tensor

RANK = 192
"""Directions that are kept."""
ROWS_AT_ONCE = 64
FLAT = 1e-5
"""Share of the largest spread below which a new direction is rounding noise."""


class LowRank:
    """X ~ coordinates @ basis, with an orthonormal basis; rows are added as they come.

    Exact while X has at most `rank` directions; beyond, each addition keeps the leading ones.
    """

    def __init__(self, rank: int = RANK) -> None:
        self._rank = rank
        self._coordinates: Tensor | None = None
        self._basis = torch.zeros(0, 0)
        self._waiting: list[Tensor] = []

    def add(self, rows: Float[Tensor, "n columns"]) -> None:
        """Take rows in."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= ROWS_AT_ONCE:
            self._merge()

    def factors(self) -> tuple[Float[Tensor, "n rank"], Float[Tensor, "rank columns"]]:
        """(coordinates, basis), the leading directions first."""
        self._merge()
        if self._coordinates is None:
            raise ValueError("rows: expected at least one, found none")
        self._turn()
        return self._coordinates, self._basis

    def _merge(self) -> None:
        if not self._waiting:
            return
        rows = torch.cat(self._waiting)
        self._waiting = []
        if self._coordinates is None:
            self._coordinates, self._basis = rows[:0, :0], rows[:0]
        inside = rows @ self._basis.T
        outside = rows - inside @ self._basis
        _, spread, directions = torch.linalg.svd(outside, full_matrices=False)
        kept = int((spread > FLAT * rows.norm()).sum())
        directions = directions[: max(kept, 1 - len(self._basis))]  # never no direction at all
        below = torch.cat([inside, outside @ directions.T], 1)
        above = self._coordinates.new_zeros(len(self._coordinates), len(directions))
        self._coordinates = torch.cat([torch.cat([self._coordinates, above], 1), below])
        self._basis = torch.cat([self._basis, directions])
        if len(self._basis) > self._rank:
            self._turn()

    def _turn(self) -> None:
        """Turn the basis so that the leading directions come first, and keep `rank` of them."""
        assert self._coordinates is not None
        long = self._coordinates.double()
        leading = torch.linalg.eigh(long.T @ long).eigenvectors.flip(1)[:, : self._rank].float()
        self._coordinates = self._coordinates @ leading
        self._basis = leading.T @ self._basis
