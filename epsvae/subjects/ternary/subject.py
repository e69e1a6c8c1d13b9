"""The ternary subject: what a map must know about ternary networks (see `epsvae.subject`).

It brings maps of its own, the Epsilon-VAEs of the reference release, beside those that `epsvae fit`
learns for any subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.checkpoints import StateFile
from epsvae.map.calibrated import CalibratedMap
from epsvae.map.map_file import is_subject_map
from epsvae.subject import Metric, State, Subject, Units
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.files import DEFAULT_MAX_RADIUS, load_checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS
from epsvae.subjects.ternary.map.look import open_map
from epsvae.subjects.ternary.metrics import METRICS, evaluate
from epsvae.subjects.ternary.network import (
    PUBLISHED,
    TernaryVAE,
    decode,
    encode,
    init_state,
    project,
)
from epsvae.subjects.ternary.operations import N_OPERATIONS, N_TRITS, operation_trits
from epsvae.subjects.ternary.symmetry import hidden_layers

if TYPE_CHECKING:
    from epsvae.uses.similar import Places


class Ternary(Subject):
    """Ternary networks of any widths, asked about operations of nine trits."""

    name = "ternary"
    metrics: tuple[Metric, ...] = METRICS

    @cached_property
    def inputs(self) -> Float[Tensor, "19683 9"]:  # type: ignore[override]
        """All operations; each is its own target."""
        return operation_trits(torch.arange(N_OPERATIONS))

    @cached_property
    def targets(self) -> Float[Tensor, "19683 9"]:  # type: ignore[override]
        """What decoder A should reconstruct."""
        return self.inputs

    @cached_property
    def symmetry(self) -> tuple[Units, ...]:  # type: ignore[override]
        """Hidden units of the published architecture."""
        return tuple(
            Units((*((name, 0) for name in layer.rows), *((name, 1) for name in layer.columns)))
            for layer in hidden_layers(PUBLISHED)
        )

    def read(self, path: Path | str) -> StateFile:
        """A checkpoint file; its max radius becomes an entry of the state."""
        found = load_checkpoint(path)
        state = found.state | {MAX_RADIUS: torch.tensor(found.max_radius)}
        metrics = None if found.metrics is None else asdict(found.metrics)
        return StateFile(Path(path), state, found.epoch, metrics)

    def build(self, state: State) -> nn.Module:
        """Raises CheckpointError for parameters of another kind of network."""
        parameters = {name: value for name, value in state.items() if name != MAX_RADIUS}
        architecture = infer_architecture(parameters)
        radius = state.get(MAX_RADIUS)
        module = TernaryVAE(architecture, DEFAULT_MAX_RADIUS if radius is None else float(radius))
        module.load_state_dict(parameters, strict=True)
        return module.eval()

    def answer(self, module: nn.Module, inputs: Tensor) -> Float[Tensor, "n 43"]:
        """A point of the ball (16 numbers), then a logit for each value of each trit (27)."""
        points, logits = module(inputs)
        return torch.cat([points, logits.flatten(1)], 1)

    def answer_stack(self, states: Sequence[State], inputs: Tensor) -> Float[Tensor, "m n 43"]:
        """Batched products where shapes agree, one by one where they do not."""
        shapes = {tuple((name, value.shape) for name, value in state.items()) for state in states}
        if len(shapes) > 1:
            return torch.cat([self.answer_stack([state], inputs) for state in states])
        with torch.no_grad():
            stack = {name: torch.stack([state[name] for state in states]) for name in states[0]}
            radius = stack.pop(MAX_RADIUS, torch.full((len(states),), DEFAULT_MAX_RADIUS))
            architecture = infer_architecture({name: value[0] for name, value in stack.items()})
            means = encode(stack, architecture, inputs)
            points = project(stack, architecture, means, radius.view(-1, 1, 1))
            return torch.cat([points, decode(stack, architecture, means).flatten(2)], 2)

    def measure(self, module: nn.Module) -> Mapping[str, float]:
        """The full evaluation: all operations, 100,000 pairs of them."""
        assert isinstance(module, TernaryVAE)
        state = {name: value.detach() for name, value in module.named_parameters()}
        return asdict(evaluate(state, module.architecture, module.max_radius))

    def items(
        self, answers: Float[Tensor, "n 43"], targets: Tensor | None
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Is every trit reconstructed? Its mean over all operations is coverage."""
        assert targets is not None
        return {"coverage": (_margins(answers, targets) > 0).float()}

    def features(
        self, answers: Float[Tensor, "n 43"], targets: Tensor | None
    ) -> Float[Tensor, "n 4"]:
        """Radius, distance from the points' mean, the smallest margin, whether it is positive."""
        assert targets is not None
        points, margins = answers[:, :-27], _margins(answers, targets)
        radius = points.norm(dim=1)
        spread = (points - points.mean(0)).norm(dim=1)
        return torch.stack([radius, spread, torch.tanh(margins / 4), torch.sigmoid(2 * margins)], 1)

    def example(self) -> State:
        """An untrained network of the published architecture."""
        return init_state(PUBLISHED, torch.Generator().manual_seed(0))

    def open_map(self, path: Path) -> CalibratedMap:
        """A map that `epsvae fit` wrote, or one of the release's own."""
        return super().open_map(path) if is_subject_map(path) else open_map(path)

    def places(self, path: Path) -> "Places":
        """Places of the library that a map of the release was learned from."""
        from epsvae.subjects.ternary.map.places import release_places

        home = path.resolve().parent
        return release_places(home.parent, home.name)


def _margins(answers: Float[Tensor, "n 43"], trits: Float[Tensor, "n 9"]) -> Float[Tensor, "n"]:
    """Smallest margin of the right value's logit over the best other one, over the nine trits."""
    logits = answers[:, -3 * N_TRITS :].unflatten(1, (N_TRITS, 3))
    right = (trits + 1).long().unsqueeze(-1)
    own = logits.gather(2, right).squeeze(2)
    other = logits.scatter(2, right, -torch.inf).amax(2)
    return (own - other).amin(1)
