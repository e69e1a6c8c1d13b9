"""Summaries of a checkpoint's replies that do not depend on which probe gave them.

What is learned of them on some runs holds on others, where single probes would be learned by heart:
mean, spread and quantiles of each column over the probes, and soft counts, the share of probes
beyond fixed places. Each probe counts with its weight.
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

    weights: Tensor
    """(probes,), of sum 1."""
    places: Tensor
    width: Tensor

    def __init__(self, n_probes: int, n_columns: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((n_probes,), 1 / n_probes))
        self.register_buffer("places", torch.zeros(len(PLACES), n_columns))
        self.register_buffer("width", torch.ones(n_columns))

    @torch.no_grad()
    def fit(self, columns: Float[Tensor, "n probes columns"]) -> None:
        """Take the places of soft counts from the training replies."""
        replies = columns.flatten(0, 1)
        replies = replies[:: max(1, replies.numel() // MOST_REPLIES)]
        equal = torch.full((len(replies),), 1 / len(replies))
        self.places.copy_(quantiles(replies[None], equal, PLACES)[0])
        spread = self.places[-1] - self.places[0]
        self.width.copy_((SOFTNESS * spread).clamp_min(SMALLEST_SPREAD))

    def forward(self, columns: Float[Tensor, "n probes columns"]) -> Float[Tensor, "n summaries"]:
        """All summaries of each checkpoint in one row."""
        means = self.means(columns)
        variance = torch.einsum("npc,p->nc", (columns - means[:, None]).square(), self.weights)
        beyond = ((columns[:, :, None] - self.places) / self.width).sigmoid()
        parts = [
            means[:, None],
            variance.sqrt()[:, None],
            quantiles(columns, self.weights, QUANTILES),
            torch.einsum("npqc,p->nqc", beyond, self.weights),
        ]
        return torch.cat(parts, 1).flatten(1)

    def means(self, columns: Float[Tensor, "n probes columns"]) -> Float[Tensor, "n columns"]:
        """The weighed mean of each column."""
        return torch.einsum("npc,p->nc", columns, self.weights)


def quantiles(
    columns: Float[Tensor, "n probes columns"],
    weights: Float[Tensor, "probes"],
    shares: tuple[float, ...],
) -> Float[Tensor, "n shares columns"]:
    """Weighed quantiles over the probes, interpolated between the middles of their weights."""
    ordered, place = columns.sort(1)
    middles = weights[place].cumsum(1) - weights[place] / 2
    last, found = columns.shape[1] - 1, []
    for share in shares:
        above = (middles < share).sum(1, keepdim=True)
        pair = (above - 1).clamp_min(0), above.clamp_max(last)
        low, high = (middles.gather(1, p) for p in pair)
        part = ((share - low) / (high - low).clamp_min(SMALLEST_SPREAD)).clamp(0, 1)
        found.append(ordered.gather(1, pair[0]).lerp(ordered.gather(1, pair[1]), part))
    return torch.cat(found, 1)
