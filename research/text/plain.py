"""The plain way to train a run: one module, torch's own AdamW. What the stack is measured by."""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from epsvae.subjects.text import Transformer
from research.text.recipes import Recipe
from research.text.stacked import BETAS, EPSILON, LARGEST_GRADIENT
from research.text.training import first_state


def module_and_optimizer(recipe: Recipe) -> tuple[Transformer, torch.optim.AdamW]:
    """A run before its first step."""
    module = Transformer(recipe.width)
    module.load_state_dict(first_state(recipe))
    return module, torch.optim.AdamW(
        module.parameters(), recipe.rate, BETAS, EPSILON, weight_decay=recipe.decay
    )


def step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    windows: Int[Tensor, "n symbols"],
    rate: float,
) -> Tensor:
    """One step of one run; gives the loss before it (nats)."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    scores = module(windows[:, :-1])
    loss = F.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    return loss.detach()
