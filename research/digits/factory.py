"""Many runs of one network trained together as stacked tensors.

All parameters of R runs lie in one (R, P) buffer; the layers are views into it. One batched matrix
product serves all runs, and AdamW, written out, steps them, each by its own rate and decay.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from epsvae.subject import State
from epsvae.subjects.digits import (
    N_CLASSES,
    N_TRAINING,
    convolutional,
    load_images,
    perceptron,
    shifted,
)
from research.digits.recipes import Recipe, checkpoint_steps

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Pixels (down, right); the first is none."""


class Batches(NamedTuple):
    """What a run sees: rows of `shift_table` and labels, for every step."""

    rows: Int[Tensor, "steps batch"]
    labels: Int[Tensor, "steps batch"]


def shift_table() -> Float[Tensor, "9000 1 8 8"]:
    """The training images, moved in every way: row 1,000 s + i is image i moved by shift s."""
    images = load_images().training
    return torch.cat([shifted(images, down, right) for down, right in SHIFTS])


def initial_state(recipe: Recipe) -> dict[str, Tensor]:
    """The recipe's network before its first step: U(-1, 1) / sqrt(fan in), times the scale."""
    make = {"perceptron": perceptron, "convolutional": convolutional}[recipe.architecture]
    with torch.device("meta"):  # draws no numbers
        shapes = {name: tensor.shape for name, tensor in make(recipe.width).state_dict().items()}
    generator = torch.Generator().manual_seed(recipe.seed)
    state = {}
    for name, shape in shapes.items():
        fan_in = shapes[name.replace("bias", "weight")][1:].numel()
        bound = recipe.init_scale / fan_in**0.5
        state[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return state


def draw_batches(recipe: Recipe) -> Batches:
    """Batches of a whole run, drawn with replacement from the recipe's share of the images.

    The labels are wrong once and for all, in the share that the recipe says.
    """
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    labels = load_images().training_labels
    wrong = torch.randint(1, N_CLASSES, labels.shape, generator=generator)
    flipped = torch.rand(len(labels), generator=generator) < recipe.label_noise
    labels = torch.where(flipped, (labels + wrong) % N_CLASSES, labels)
    order = torch.randperm(N_TRAINING, generator=generator)
    chosen = order[: max(1, round(recipe.share * N_TRAINING))]
    shape = (recipe.steps, recipe.batch_size)
    images = chosen[torch.randint(len(chosen), shape, generator=generator)]
    shift = torch.randint(len(SHIFTS), shape, generator=generator) * recipe.shifts
    return Batches(shift * N_TRAINING + images, labels[images])


def forward(layers: State, images: Float[Tensor, "runs n 1 8 8"]) -> Float[Tensor, "runs n 10"]:
    """Logits of R networks, each on its own images; as the networks' modules give them."""
    if layers["first.weight"].ndim == 3:
        x = images.flatten(2)
        for name in ("first", "second"):
            x = _affine(x, layers[f"{name}.weight"], layers[f"{name}.bias"]).relu()
        return _affine(x, layers["head.weight"], layers["head.bias"])
    x = images.movedim(2, -1)
    for name, stride in (("first", 2), ("second", 2), ("head", 1)):
        x = _convolve(x, layers[f"{name}.weight"], layers[f"{name}.bias"], stride)
        x = x if name == "head" else x.relu()
    return x.flatten(2)


def _affine(
    x: Float[Tensor, "runs n inputs"],
    weight: Float[Tensor, "runs outputs inputs"],
    bias: Float[Tensor, "runs outputs"],
) -> Float[Tensor, "runs n outputs"]:
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def _convolve(
    x: Float[Tensor, "runs n h w inputs"],
    weight: Float[Tensor, "runs outputs inputs k k"],
    bias: Float[Tensor, "runs outputs"],
    stride: int,
) -> Float[Tensor, "runs n h2 w2 outputs"]:
    """A convolution as one matrix product a run: channels last, patches side by side.

    Kernels of 3 are padded by 1; others are not.
    """
    runs, n, side = x.shape[:3]
    size = weight.shape[-1]
    pad = size // 2 if size % 2 else 0
    x = F.pad(x, (0, 0, pad, pad, pad, pad))
    out = (side + 2 * pad - size) // stride + 1
    reach = stride * (out - 1) + 1
    patches = [
        x[:, :, i : i + reach : stride, j : j + reach : stride]
        for i in range(size)
        for j in range(size)
    ]
    flat = torch.cat(patches, -1).view(runs, n * out * out, -1)
    return _affine(flat, weight.movedim(2, -1).flatten(2), bias).view(runs, n, out, out, -1)


class Stack:
    """R networks and their AdamW: `layers` holds views (R, *shape) by name into one buffer."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        states = [initial_state(recipe) for recipe in recipes]
        self.values = torch.stack([torch.cat([t.flatten() for t in s.values()]) for s in states])
        shapes = {name: tensor.shape for name, tensor in states[0].items()}
        parts = self.values.split([shape.numel() for shape in shapes.values()], 1)
        self.layers = {
            name: part.unflatten(1, shape).detach().requires_grad_()
            for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        }
        self.rate = torch.tensor([r.lr for r in recipes]).unsqueeze(1)
        self.decay = 1 - self.rate * torch.tensor([[r.weight_decay] for r in recipes])
        self._gradient, self._work = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self._mean, self._square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self._steps = 0

    def step(self, images: Float[Tensor, "runs n 1 8 8"], labels: Int[Tensor, "runs n"]) -> None:
        """One step of AdamW (Loshchilov and Hutter, 2019) for every run, on its own batch."""
        logits = forward(self.layers, images).flatten(0, 1)
        loss = F.cross_entropy(logits, labels.flatten(), reduction="sum") / labels.shape[1]
        gradients = torch.autograd.grad(loss, list(self.layers.values()))
        torch.cat([g.flatten(1) for g in gradients], 1, out=self._gradient)
        self._steps += 1
        unbias, unbias_square = (1 - beta**self._steps for beta in BETAS)
        self._mean.lerp_(self._gradient, 1 - BETAS[0])
        self._square.mul_(BETAS[1])
        self._square.addcmul_(self._gradient, self._gradient, value=1 - BETAS[1])
        torch.sqrt(self._square, out=self._work)
        self._work.div_(unbias_square**0.5).add_(EPSILON)
        torch.div(self._mean, self._work, out=self._work)
        self.values.mul_(self.decay).addcmul_(self._work, self.rate, value=-1 / unbias)

    def state(self, run: int) -> dict[str, Tensor]:
        """A copy of one run's parameters."""
        return {name: layer[run].detach().clone() for name, layer in self.layers.items()}


def train(
    recipes: Sequence[Recipe], save: Callable[[Recipe, int, dict[str, Tensor]], None]
) -> None:
    """Train runs of one network, length and batch size; `save` gets recipe, step and state."""
    table, stack = shift_table(), Stack(recipes)
    batches = [draw_batches(recipe) for recipe in recipes]
    rows = torch.stack([b.rows for b in batches], 1)
    labels = torch.stack([b.labels for b in batches], 1)
    due = set(checkpoint_steps(recipes[0]))
    for step in range(1, recipes[0].steps + 1):
        stack.step(table[rows[step - 1]], labels[step - 1])
        if step in due:
            for run, recipe in enumerate(recipes):
                save(recipe, step, stack.state(run))
