"""One run: its first weights, what it reads and how its step changes, whoever trains it."""

import torch
from jaxtyping import Int
from torch import Tensor

from epsvae.subjects.source_text import CHARACTERS, VOCABULARY, corpus
from epsvae.subjects.text import CONTEXT, Transformer
from research.text.recipes import Recipe

BATCH = 4
"""Windows of a step."""
WARM_UP = 100

LOWER = torch.tensor([CHARACTERS.index(c.lower()) for c in CHARACTERS] + [VOCABULARY - 1])


def first_state(recipe: Recipe) -> dict[str, Tensor]:
    """The weights before training: normal, of standard deviation scale / sqrt(inputs)."""
    generator = torch.Generator().manual_seed(recipe.number)
    with torch.device("meta"):
        shapes = Transformer(recipe.width).state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}
    for tensor in state.values():
        if tensor.ndim == 2:
            tensor.normal_(0, recipe.scale / tensor.shape[1] ** 0.5, generator=generator)
    return state


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """Adam's step at a step counted from 1."""
    share = 1 - (1 - recipe.final_rate) * step / steps
    return recipe.rate * share * min(1.0, step / WARM_UP)


class Reader:
    """The windows that a run is trained on, in the order of its steps."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._generator = torch.Generator().manual_seed(1_000_000 + recipe.number)
        text = corpus("train")
        length = max(int(recipe.share * len(text)), 10 * CONTEXT)
        start = int(torch.randint(len(text) - length + 1, (), generator=self._generator))
        self._text = text[start : start + length]

    def read(self, steps: int) -> Int[Tensor, "steps batch symbols"]:
        """Windows of the next steps."""
        size = (steps, BATCH, 1)
        last = len(self._text) - CONTEXT
        starts = torch.randint(last, size, generator=self._generator)
        windows = self._text[starts + torch.arange(CONTEXT + 1)]
        if self._recipe.lower:
            windows = LOWER[windows]
        if self._recipe.corruption:
            drawn = torch.rand(windows.shape, generator=self._generator)
            noise = torch.randint(VOCABULARY, windows.shape, generator=self._generator)
            windows = torch.where(drawn < self._recipe.corruption, noise, windows)
        return windows
