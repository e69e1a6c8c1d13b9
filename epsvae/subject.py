"""The seam between maps and networks: everything that a map must know about a family of networks.

A subject says how a checkpoint of the family becomes a network, what is asked of it, and what its
full evaluation measures. A map knows subjects only through this file. Whoever writes one file with
one subclass of `Subject` gets maps of their own checkpoints; ``epsvae subject new FILE`` writes a
first one, ``epsvae subject check FILE`` says what is wrong with it.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from epsvae.errors import SubjectError

if TYPE_CHECKING:
    from epsvae.checkpoints import StateFile
    from epsvae.map.calibrated import CalibratedMap
    from epsvae.uses.similar import Places

State = Mapping[str, Tensor]
"""A state dict."""

MARGIN = 2e-3
"""How close to a finite end, as a share of the range, a metric is told apart by its link."""
FLOOR = 1e-6
"""The same for a range that is open on one side, in the metric's own unit."""


class Metric(NamedTuple):
    """A number that the full evaluation gives; its range decides how it is learned."""

    name: str
    low: float = -math.inf
    high: float = math.inf
    better: Literal["higher", "lower"] = "higher"

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return 1.0 if self.better == "higher" else -1.0

    def link(self, values: Tensor) -> Tensor:
        """Values on a scale without ends.

        Both ends finite: the logit of the share of the range (on [-1, 1] half of it, the artanh);
        one end: the logarithm of the distance from it; none: as they are.
        """
        if math.isfinite(self.low) and math.isfinite(self.high):
            share = (values - self.low) / (self.high - self.low)
            return self._slope * share.clamp(MARGIN, 1 - MARGIN).logit()
        if math.isfinite(self.low):
            return (values - self.low).clamp_min(FLOOR).log()
        if math.isfinite(self.high):
            return -(self.high - values).clamp_min(FLOOR).log()
        return values

    def unlink(self, linked: Tensor) -> Tensor:
        """The inverse of `link`; always within the range."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) * (linked / self._slope).sigmoid()
        if math.isfinite(self.low):
            return self.low + linked.exp()
        if math.isfinite(self.high):
            return self.high - (-linked).exp()
        return linked

    @property
    def _slope(self) -> float:
        return 0.5 if (self.low, self.high) == (-1.0, 1.0) else 1.0


class Subject:
    """A family of networks. Subclass it, set the attributes, write `build` and `measure`.

    Everything else has a default that works. `inputs` is the pool from which a map takes its
    probes and anchors: a few hundred to a few thousand that are like those of the full evaluation.
    """

    name: ClassVar[str]
    """What a map calls the family; a map of one name refuses a subject of another."""
    metrics: tuple[Metric, ...]
    inputs: Tensor
    """(N, ...)"""
    targets: Tensor | None = None
    """(N, ...) right answers, where there are any."""
    symmetry: Sequence["Units"] = ()
    """Hidden units that may be reordered without changing any answer, for `check`."""
    stacks: ClassVar[bool] = True
    """May networks of equal shapes run together under `torch.func.vmap`? Set it to False where
    `answer` branches on what the module says, or uses what vmap cannot."""

    def read(self, path: Path | str) -> "StateFile":
        """A checkpoint file; raises CheckpointError, naming it, for one that cannot be read.

        Override it where files hold more than a state dict that the network depends on.
        """
        from epsvae.checkpoints import read_state

        return read_state(path)

    def build(self, state: State) -> nn.Module:
        """The network of a state dict, in evaluation mode.

        Load it strictly; what does not fit must raise, so that nothing is left at random.
        """
        raise NotImplementedError

    def answer(self, module: nn.Module, inputs: Tensor) -> Float[Tensor, "n answers"]:
        """What the network says to each input, as one row of numbers."""
        answers: Tensor = module(inputs)
        return answers.flatten(1)

    def measure(self, module: nn.Module) -> Mapping[str, float]:
        """The full, slow evaluation: every metric by name.

        The default averages `items` over the whole pool; override it where the full evaluation is
        more than that.
        """
        with torch.no_grad():
            answers = self.answer(module, self.inputs)
        return {name: float(v.mean()) for name, v in self.items(answers, self.targets).items()}

    def items(
        self, answers: Float[Tensor, "n answers"], targets: Tensor | None
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Scores of single inputs, for the metrics that are a mean of such over all inputs."""
        return {}

    def features(
        self, answers: Float[Tensor, "n answers"], targets: Tensor | None
    ) -> Float[Tensor, "n features"]:
        """What a map sees of the answer to each input; by default the answers themselves.

        A map summarises each column over its probes (mean, spread, quantiles), so that a feature
        should mean the same for every input: a loss, a margin, a confidence, a level.
        """
        return answers

    def answer_stack(
        self, states: Sequence[State], inputs: Tensor
    ) -> Float[Tensor, "checkpoints n answers"]:
        """Answers of many checkpoints, as `answer` gives them one by one; without gradients.

        Networks of equal shapes run together (`torch.func.vmap`), unless `stacks` is False.
        Override it where there is a faster way.
        """
        with torch.no_grad():
            modules = [self.build(state) for state in states]
            shapes = {tuple((n, t.shape) for n, t in m.state_dict().items()) for m in modules}
            if len(modules) == 1 or len(shapes) > 1 or not self.stacks:
                return torch.stack([self.answer(module, inputs) for module in modules])
            parameters, buffers = stack_module_state(modules)
            together = torch.vmap(lambda p, b: self.answer(_Bound(modules[0], p, b), inputs))
            answers: Tensor = together(parameters, buffers)
            return answers

    def example(self) -> State:
        """Any state dict that `build` accepts, for `check`; it need not be trained."""
        raise SubjectError(
            f"{type(self).__name__}: expected example() -> a state dict that build accepts, found "
            "none; write it, or give a checkpoint"
        )

    def open_map(self, path: Path) -> "CalibratedMap":
        """A map of this subject from its file; raises CheckpointError and SubjectError, naming it.

        Override it where a subject has maps of its own making.
        """
        from epsvae.map.map_file import load_map

        return load_map(path, self)

    def places(self, path: Path) -> "Places":
        """Where the checkpoints lie that a map was learned from, if they are kept beside it."""
        raise SubjectError(
            f"{path}: expected the places of its library beside the map, found none; name a folder "
            "of checkpoints to search (--library)"
        )

    def metric(self, name: str) -> Metric:
        """The metric of that name; raises SubjectError for an unknown one."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        known = ", ".join(metric.name for metric in self.metrics)
        raise SubjectError(f"metric: expected one of {known}, found {name!r}")


class _Bound(nn.Module):
    """A module called with other parameters and buffers than its own."""

    def __init__(self, module: nn.Module, parameters: State, buffers: State) -> None:
        super().__init__()
        self._call = partial(functional_call, module, (dict(parameters), dict(buffers)))

    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self._call(arguments, options)


class Units(NamedTuple):
    """Hidden units that may be permuted: dimensions of parameters that must move together.

    ``Units(("0.weight", 0), ("0.bias", 0), ("2.weight", 1))`` are the outputs of layer 0 and the
    inputs of layer 2. (The form of git re-basin: Ainsworth et al., 2022.)
    """

    axes: tuple[tuple[str, int], ...]


def permuted(state: State, units: Units, order: Tensor) -> dict[str, Tensor]:
    """The state with some hidden units in another order: the same function."""
    result = dict(state)
    for name, axis in units.axes:
        result[name] = result[name].index_select(axis, order)
    return result


def check(subject: Subject, states: Sequence[State] = ()) -> list[str]:
    """What is wrong with a subject, in sentences: see `epsvae.conformance.check`."""
    from epsvae.conformance import check as check_all

    return check_all(subject, states)
