"""Coverage read on two scales: as a share like any other, and where it is nearly 0 or 1.

A sum of soft counts tells 0.5 from 0.6, but not 0.001 from 0.005: among a hundred probes that is
less than one. The logit tells small shares apart, and is vague in the middle.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.ridge import fit_ridge
from epsvae.subjects.ternary.map.ranges import link_coverage

EVEN = 0.1
"""c (1 - c) at which both readings count the same. Chosen by leaving training runs out, one at a
time: smaller values lose the order within runs, larger ones are less exact."""


class CoverageReader(nn.Module):
    """Two linear readings of the same features, weighed by their precision.

    An error e of the logit is an error e c (1 - c) of the share c. With weights inverse to squared
    errors, the logit decides near 0 and 1, and the share decides between.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.share = nn.Linear(n_features, 1)
        self.logit = nn.Linear(n_features, 1)

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n 1"]:
        """Coverage, in [0, 1]."""
        return weigh(self.share(x), self.logit(x))


def weigh(share: Float[Tensor, "*n"], logit: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """One coverage from both readings, in [0, 1]."""
    share = share.clamp(0, 1)
    precision = (share * (1 - share) / EVEN).square()
    return (precision * share + logit.sigmoid()) / (precision + 1)


@torch.no_grad()
def fit_coverage(
    reader: CoverageReader,
    train: tuple[Float[Tensor, "n features"], Float[Tensor, "n 1"]],
    validation: tuple[Float[Tensor, "m features"], Float[Tensor, "m 1"]],
) -> None:
    """Fit both readings to coverages by ridges, their strengths chosen on validation runs."""
    (x, share), (x_validation, share_validation) = train, validation
    logits = link_coverage(share), link_coverage(share_validation)
    fit_ridge(reader.share, train, validation)
    fit_ridge(reader.logit, (x, logits[0]), (x_validation, logits[1]))
