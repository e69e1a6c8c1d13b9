"""Many transformers of one shape trained at once: every product is a batched one.

The forward pass is that of `epsvae.subjects.text.Transformer` with a leading dimension for runs;
parameters, gradients and Adam's averages are one matrix each, a row per run.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.subjects.text import HEADS, LAYERS

BETAS = (0.9, 0.99)
EPSILON = 1e-8
LARGEST_GRADIENT = 1.0
"""Norm to which larger gradients are cut."""


def logits(state: Mapping[str, Tensor], x: Int[Tensor, "r n t"]) -> Float[Tensor, "r m characters"]:
    """Logits of each run's own network on its own n windows; m = n * t."""
    table = state["characters.weight"]
    (r, n, t), (_, characters, d) = x.shape, table.shape
    rows = x + torch.arange(r)[:, None, None] * characters
    h = F.embedding(rows, table.reshape(-1, d)) + state["places"][:, None, :t]
    for lag in (1, 2):
        earlier = state[f"earlier.{lag - 1}.weight"].reshape(-1, d)
        h = h + F.pad(F.embedding(rows[..., :-lag], earlier), (0, 0, lag, 0))
    h = h.view(r, n * t, d)
    for layer in range(LAYERS):
        h = _block(h, state, f"blocks.{layer}.", (r * n, t))
    return F.layer_norm(h, (d,)) @ table.mT


def _block(
    h: Float[Tensor, "r m d"], state: Mapping[str, Tensor], name: str, rows: tuple[int, int]
) -> Float[Tensor, "r m d"]:
    d = h.shape[-1]
    qkv = F.layer_norm(h, (d,)) @ state[name + "attend.weight"].mT
    q, k, v = qkv.view(*rows, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    h = torch.baddbmm(h, heads.transpose(1, 2).reshape(h.shape), state[name + "mix.weight"].mT)
    bias = state[name + "up.bias"][:, None]
    up = torch.baddbmm(bias, F.layer_norm(h, (d,)), state[name + "up.weight"].mT).relu()
    return torch.baddbmm(h, up, state[name + "down.weight"].mT)


class Stack:
    """Networks of equal shapes and their AdamW, a row per run."""

    def __init__(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        shapes = {name: tensor.shape for name, tensor in states[0].items()}
        rows = [torch.cat([state[name].flatten() for name in shapes]) for state in states]
        self.values = torch.stack(rows)
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.steps = 0
        parts = self.values.split([shape.numel() for shape in shapes.values()], 1)
        self.state = {
            name: part.view(-1, *shape).detach().requires_grad_()
            for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        }

    def step(
        self, x: Int[Tensor, "r n symbols"], rate: Float[Tensor, "r"], decay: Float[Tensor, "r"]
    ) -> Float[Tensor, "r"]:
        """One step of every run on its own windows; gives the losses before it (nats)."""
        r = len(x)
        scores = logits(self.state, x[..., :-1])
        right = x[..., 1:].reshape(-1)
        losses = F.cross_entropy(scores.flatten(0, 1), right, reduction="none").view(r, -1).mean(1)
        gradients = torch.autograd.grad(losses.sum(), list(self.state.values()))
        gradient = torch.cat([part.flatten(1) for part in gradients], 1)
        self._adam(gradient, rate[:, None], decay[:, None])
        return losses.detach()

    @torch.no_grad()
    def _adam(
        self,
        gradient: Float[Tensor, "r p"],
        rate: Float[Tensor, "r 1"],
        decay: Float[Tensor, "r 1"],
    ) -> None:
        self.steps += 1
        norm = gradient.norm(dim=1, keepdim=True)
        gradient = gradient * (LARGEST_GRADIENT / (norm + 1e-6)).clamp_max(1.0)
        first, second = BETAS
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = (self.square / (1 - second**self.steps)).sqrt_().add_(EPSILON)
        self.values.mul_(1 - rate * decay)
        self.values.sub_(rate / (1 - first**self.steps) * (self.mean / root))

    def states(self) -> list[dict[str, Tensor]]:
        """A copy of each run's state dict."""
        named = self.state.items()
        return [{k: v.detach()[i].clone() for k, v in named} for i in range(len(self.values))]
