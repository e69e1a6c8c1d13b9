"""Parameters of many networks in one buffer, and the optimiser that steps them together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from research.ternary.recipes import Recipe

State = dict[str, Tensor]

WARM_UP = 100
"""Steps in which a released encoder reaches its rate: Adam's first steps are its largest."""


class Stack:
    """Parameters of R networks in one (R, P) buffer, their gradients in a second one.

    `layers` holds views (R, *shape) by name for the forward pass; `block` gives one run's rows of
    both buffers to an optimiser.
    """

    def __init__(self, states: Sequence[State], names: Sequence[str]) -> None:
        shapes = {name: states[0][name].shape for name in names}
        self.values = torch.stack([torch.cat([s[n].flatten() for n in names]) for s in states])
        self.gradients = torch.zeros_like(self.values)
        self.layers: State = {}
        self._slices: dict[str, slice] = {}
        start = 0
        for name, shape in shapes.items():
            part = slice(start, start + shape.numel())
            view = self.values[:, part].unflatten(1, shape)
            self.layers[name], self._slices[name] = view.detach().requires_grad_(), part
            start = part.stop

    def backward(self, loss: Tensor) -> None:
        """Fill the gradient buffer with the gradient of a scalar loss.

        A layer that the loss does not touch (`fc_logvar` in a run) keeps its zero gradient.
        """
        layers = list(self.layers.values())
        gradients = torch.autograd.grad(loss, layers, allow_unused=True)
        for part, gradient in zip(self._slices.values(), gradients, strict=True):
            if gradient is not None:
                self.gradients[:, part] = gradient.flatten(1)

    def block(self, run: int, prefix: str) -> Tensor:
        """One run's neighbouring layers with a common prefix, flat, with their gradient."""
        parts = [part for name, part in self._slices.items() if name.startswith(prefix)]
        part = slice(parts[0].start, parts[-1].stop)
        values = self.values[run, part]
        values.grad = self.gradients[run, part]
        return values

    def state(self, run: int) -> State:
        """A copy of one run's parameters."""
        return {name: layer[run].detach().clone() for name, layer in self.layers.items()}


class RunOptimiser:
    """Adam for R runs, each with its own learning rates; releases and freezes encoder A."""

    def __init__(self, recipes: Sequence[Recipe], stack: Stack) -> None:
        self.recipes = recipes
        self.coverage = [1.0] * len(recipes)
        heads = [
            {"params": [stack.block(run, "projection")], "lr": recipe.lr}
            for run, recipe in enumerate(recipes)
        ]
        self._encoders = [
            _Encoder(run, recipe.lr * scale, stack.block(run, name))
            for run, recipe in enumerate(recipes)
            for name, scale in recipe.encoder_lr_scales.items()
        ]
        groups = [{"params": [encoder.values], "lr": 0.0} for encoder in self._encoders]
        self.adam = torch.optim.Adam(heads + groups, fused=True)

    def observe(self, run: int, coverage: float) -> None:
        """Tell the homeostatic rule the coverage at a run's latest checkpoint."""
        self.coverage[run] = coverage

    def step(self, step: int) -> None:
        """One Adam step; an encoder that is frozen now has no gradient and so does not move."""
        groups = self.adam.param_groups[len(self.recipes) :]
        for encoder, group in zip(self._encoders, groups, strict=True):
            released = self._released(encoder.run, step)
            encoder.steps += released
            encoder.values.grad = encoder.gradient if released else None
            group["lr"] = encoder.lr * min(1.0, encoder.steps / WARM_UP)
        self.adam.step()

    def _released(self, run: int, step: int) -> bool:
        recipe = self.recipes[run]
        started = step > recipe.unfreeze_start * recipe.steps
        return started and self.coverage[run] >= recipe.coverage_floor


class _Encoder:
    """One run's released encoder: its parameters, gradient, learning rate and steps so far."""

    def __init__(self, run: int, lr: float, values: Tensor) -> None:
        self.run, self.lr, self.values, self.gradient = run, lr, values, values.grad
        self.steps = 0
