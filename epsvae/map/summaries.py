"""Summaries of a checkpoint's replies that do not depend on which probe gave them.

What is learned of them on some runs holds on others, where single probes would be learned by heart:
mean, spread and quantiles of each column over the probes, and soft counts, the share of probes
beyond fixed places.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where soft counts are taken: quantiles of all training replies together."""
N_SUMMARIES = 2 + len(QUANTILES) + len(PLACES)
"""Of each column."""
SOFTNESS = 0.3
"""Of a soft count, as a share of the distance between the outer places."""
SMALLEST_SPREAD = 1e-6
MOST_REPLIES = 2**20
"""Looked at to find the places."""


class Summaries(nn.Module):
    """columns of n probes -> (mean, spread, quantiles, soft counts) of each column."""

    places: Tensor
    width: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(len(PLACES), n_columns))
        self.register_buffer("width", torch.ones(n_columns))

    @torch.no_grad()
    def fit(self, columns: Float[Tensor, "n probes columns"]) -> None:
        """Take the places of soft counts from the training replies."""
        replies = columns.flatten(0, 1)
        replies = replies[:: max(1, replies.numel() // MOST_REPLIES)]
        self.places.copy_(_quantiles(replies, PLACES))
        spread = self.places[-1] - self.places[0]
        self.width.copy_((SOFTNESS * spread).clamp_min(SMALLEST_SPREAD))

    def forward(self, columns: Float[Tensor, "n probes columns"]) -> Float[Tensor, "n summaries"]:
        """All summaries of each checkpoint in one row."""
        probes_first = columns.transpose(0, 1)
        beyond = (columns[:, :, None] - self.places) / self.width
        parts = [
            columns.mean(1)[:, None],
            columns.std(1, correction=0)[:, None],
            _quantiles(probes_first, QUANTILES).transpose(0, 1),
            beyond.sigmoid().mean(1),
        ]
        return torch.cat(parts, 1).flatten(1)


def _quantiles(
    values: Float[Tensor, "n *rest"], shares: tuple[float, ...]
) -> Float[Tensor, "shares *rest"]:
    """Quantiles along the first axis, interpolated; without the size limit of torch.quantile."""
    ordered = values.sort(0).values
    places = torch.tensor(shares) * (len(values) - 1)
    below = places.floor().long()
    above = (below + 1).clamp_max(len(values) - 1)
    part = (places - below).view(-1, *[1] * (values.ndim - 1))
    return ordered[below].lerp(ordered[above], part)
