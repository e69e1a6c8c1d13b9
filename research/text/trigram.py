"""``python -m research.text.trigram``: what counting says, on the same windows as the networks."""

import torch
import typer
from jaxtyping import Float, Int
from torch import Tensor, nn

from epsvae.subjects.source_text import VOCABULARY, corpus
from epsvae.subjects.text import Text

STRENGTHS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Counts that the shorter context is worth; the best is chosen on text that is not counted."""
CHOOSE = 10
"""One part of so many of the training text chooses the strengths."""


class Trigram(nn.Module):
    """Logarithms of the next character's shares after the last two, mixed with shorter contexts.

    p(c | ab) = (count(abc) + s p(c | b)) / (count(ab) + s), and p(c | b) in the same way from p(c)
    (a Dirichlet prior; Mackay and Peto, 1995). The first character of a window has one before it.
    """

    def __init__(self, text: Int[Tensor, "n"]) -> None:
        super().__init__()
        held = len(text) // CHOOSE
        counted, chosen = counts(text[:-held]), text[-held:]
        pair = min(STRENGTHS, key=lambda s: _bits(mixtures(counted, s, 1.0)[0], chosen))
        triple = min(STRENGTHS, key=lambda s: _bits(mixtures(counted, pair, s)[1], chosen))
        self.strengths = (pair, triple)
        self.pairs, self.triples = mixtures(counts(text), pair, triple)

    def forward(self, x: Int[Tensor, "n t"]) -> Float[Tensor, "n t characters"]:
        """As the transformers give them."""
        first = self.pairs[x[:, :1]]
        return torch.cat([first, self.triples[x[:, :-1], x[:, 1:]]], 1).log()


def counts(text: Int[Tensor, "n"]) -> tuple[Tensor, Tensor, Tensor]:
    """How often each character, each two and each three in a row stand in a text."""
    v, two = VOCABULARY, text[:-1] * VOCABULARY + text[1:]
    three = two[:-1] * v + text[2:]
    sizes = ((text, (v,)), (two, (v, v)), (three, (v, v, v)))
    single, pairs, triples = (
        torch.bincount(index, minlength=v ** len(size)).view(size).double() for index, size in sizes
    )
    return single, pairs, triples


def mixtures(
    counted: tuple[Tensor, Tensor, Tensor], pair: float, triple: float
) -> tuple[Float[Tensor, "v v"], Float[Tensor, "v v v"]]:
    """Shares of the next character after one and after two."""
    single, pairs, triples = counted
    zero = (single + 1) / (single.sum() + len(single))
    one = (pairs + pair * zero) / (pairs.sum(-1, keepdim=True) + pair)
    two = (triples + triple * one) / (triples.sum(-1, keepdim=True) + triple)
    return one, two


def _bits(shares: Float[Tensor, "*context v"], text: Int[Tensor, "n"]) -> float:
    order = shares.ndim
    place = tuple(text[start : len(text) - order + 1 + start] for start in range(order))
    return -float(shares[place].log2().mean())


def main() -> None:
    """Metrics of the trigram model over the windows of the full evaluation."""
    model = Trigram(corpus("train"))
    metrics = Text().measure(model)
    whole = _bits(model.triples, corpus("held"))
    typer.echo(
        f"bits {metrics['bits']:.4f}, closing {metrics['closing']:.4f}, "
        f"copying {metrics['copying']:.4f}; running text {whole:.4f} bits; "
        f"strengths {model.strengths}"
    )


if __name__ == "__main__":
    typer.run(main)
