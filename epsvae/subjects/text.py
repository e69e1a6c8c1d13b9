"""Character-level transformers on source text, and what they can do.

The windows are 33 characters of files that no run was trained on; each character from the second
on is predicted from those before it. The full evaluation predicts 640,000 characters.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from epsvae.errors import SubjectError
from epsvae.subject import Metric, State, Subject, Units
from epsvae.subjects.source_text import CHARACTERS, VOCABULARY, corpus, windows

CONTEXT = 32
N_WINDOWS = 20_000
LAYERS = 2
HEADS = 2
"""Attention heads of a layer, at any width."""
CHUNK = 128
"""Windows that are run at a time: they fit a processor's cache."""
NAME_START = 3
"""Characters of a word after which it counts as known which word is being written."""

CLOSING = [CHARACTERS.index(c) for c in ")]}"]
LETTERS = [i for i, c in enumerate(CHARACTERS) if c.isalnum() or c == "_"]


class Block(nn.Module):
    """Causal self-attention and a hidden layer, each added to what came in.

    The normalisations have no parameters of their own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """One layer; position t sees positions up to t."""
        qkv = self.attend(F.layer_norm(x, x.shape[-1:])).unflatten(-1, (3, HEADS, -1))
        q, k, v = qkv.movedim(-3, 0).transpose(-3, -2)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(heads.transpose(-3, -2).flatten(-2))
        return x + self.down(self.up(F.layer_norm(x, x.shape[-1:])).relu_())


class Transformer(nn.Module):
    """Logits of the next character at every position of a window.

    A position starts as the sum of what its own character, the two before it and its place say;
    the first table serves as the last layer too.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(VOCABULARY, width)
        self.earlier = nn.ModuleList(nn.Embedding(VOCABULARY, width) for _ in range(2))
        self.places = nn.Parameter(torch.zeros(CONTEXT, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(LAYERS))

    def forward(self, x: Int[Tensor, "n t"]) -> Float[Tensor, "n t characters"]:
        """Characters as symbols; at least 3 and at most 32 of them."""
        h = self.characters(x) + self.places[: x.shape[-1]]
        for lag, table in enumerate(self.earlier, 1):
            h = h + F.pad(table(x[..., :-lag]), (0, 0, lag, 0))
        for block in self.blocks:
            h = block(h)
        return F.linear(F.layer_norm(h, h.shape[-1:]), self.characters.weight)


COLUMNS = (
    "bits",  # of a character, mean over the window
    "bits, first quarter",
    "bits, last quarter",
    "right",  # share of characters that are the likeliest
    "confidence",  # mean probability of the likeliest character, in [0, 1]
    "entropy",  # mean, in bits
    "closing right",  # number of closing brackets that are the likeliest character
    "closing bits",  # their sum over closing brackets
    "copying right",
    "copying bits",
)
"""What `Text.answer` says about a window."""


class Text(Subject):
    """Transformers of any even width that read windows of 32 characters.

    Metrics, over 20,000 windows of held-out text:

    - ``bits``: per character; 6.6 for a network that knows nothing.
    - ``closing``: of the characters that are ``)``, ``]`` or ``}``, the share that the network
      finds likeliest of all 97. Who never expects a bracket has 0, who always expects ``)`` has
      the share of ``)`` among them.
    - ``copying``: the same share over characters that go on with a word as the window did before:
      the fourth and later ones of words whose beginning, that character included, also begins a
      word further left. Who cannot look back has what the word itself gives away.
    """

    name = "text"
    targets: Tensor
    metrics = (
        Metric("bits", low=0.0, better="lower"),
        Metric("closing", 0.0, 1.0),
        Metric("copying", 0.0, 1.0),
    )

    def __init__(self, n_windows: int = N_WINDOWS) -> None:
        """Fewer windows than 20,000 make another, coarser evaluation: for tests."""
        self.inputs = windows(corpus("held"), n_windows, CONTEXT + 1)
        self._asked = asked(self.inputs)
        self.targets = self._asked.sum(-1).T
        """(N, 2): how many characters of each window ask for each of the two skills."""
        self.symmetry = tuple(
            Units(((f"{name}.up.weight", 0), (f"{name}.up.bias", 0), (f"{name}.down.weight", 1)))
            for name in (f"blocks.{layer}" for layer in range(LAYERS))
        )

    def example(self) -> State:
        """An untrained network."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Transformer(8 * HEADS).state_dict()

    def build(self, state: State) -> Transformer:
        """The network of a state dict; its width is that of the entries.

        Raises SubjectError for any entry that is missing, unknown, of another shape or not of
        floating point numbers.
        """
        table = state.get("characters.weight")
        if table is None or table.ndim != 2 or not table.shape[1] or table.shape[1] % HEADS:
            raise SubjectError(
                f"characters.weight: expected {VOCABULARY} rows, a multiple of {HEADS} columns, "
                f"found {'none' if table is None else tuple(table.shape)}"
            )
        with torch.device("meta"):
            module = Transformer(table.shape[1])
        _same_shapes(module.state_dict(), state)
        module = module.to(table.dtype).to_empty(device=table.device)
        module.load_state_dict(dict(state), strict=True)
        return module.eval()

    def answer(self, module: nn.Module, inputs: Tensor) -> Float[Tensor, "n answers"]:
        """`COLUMNS` of each window of 33 symbols."""
        return _answers(module, inputs, asked(inputs))

    def answer_stack(
        self, states: Sequence[State], inputs: Tensor
    ) -> Float[Tensor, "checkpoints n answers"]:
        """One after the other: their products are large enough, batched ones are no faster."""
        skills = asked(inputs)
        with torch.no_grad():
            return torch.stack([_answers(self.build(s), inputs, skills) for s in states])

    def measure(self, module: nn.Module) -> Mapping[str, float]:
        """Every metric over all windows."""
        with torch.no_grad():
            answers = _answers(module, self.inputs, self._asked)
        return self.scores(answers, self.targets)

    def scores(
        self, answers: Float[Tensor, "n answers"], targets: Int[Tensor, "n 2"]
    ) -> dict[str, float]:
        """Metrics of any windows from their answers; NaN for a skill that none of them asks for."""
        right = answers[:, [COLUMNS.index("closing right"), COLUMNS.index("copying right")]]
        closed, copied = (right.double().sum(0) / targets.sum(0)).tolist()
        return {"bits": float(answers[:, 0].double().mean()), "closing": closed, "copying": copied}

    def items(
        self, answers: Float[Tensor, "n answers"], targets: Tensor | None
    ) -> dict[str, Float[Tensor, "n"]]:
        """Bits of each window; the skills are no means over windows but shares over characters."""
        return {"bits": answers[:, 0]}


def _same_shapes(expected: State, found: State) -> None:
    for name in sorted({*expected, *found}):
        if name not in expected:
            raise SubjectError(f"{name}: expected no such entry in a text network, found one")
        if name not in found:
            raise SubjectError(f"{name}: expected {tuple(expected[name].shape)}, found no entry")
        shape, tensor = tuple(expected[name].shape), found[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise SubjectError(
                f"{name}: expected floating point numbers of shape {shape}, "
                f"found {tensor.dtype} of {tuple(tensor.shape)}"
            )


def _answers(
    module: nn.Module, inputs: Int[Tensor, "n length"], skills: Bool[Tensor, "2 n length-1"]
) -> Float[Tensor, "n answers"]:
    chunks = zip(inputs.split(CHUNK), skills.split(CHUNK, 1), strict=True)
    return torch.cat([_answer(module, part, skill) for part, skill in chunks])


def _answer(
    module: nn.Module, inputs: Int[Tensor, "n length"], skills: Bool[Tensor, "2 n length-1"]
) -> Float[Tensor, "n answers"]:
    logits, right = module(inputs[:, :-1]), inputs[:, 1:]
    top = logits.amax(-1, keepdim=True)
    below = logits - top
    shares = below.exp()
    total = shares.sum(-1)
    own = below.gather(-1, right[..., None]).squeeze(-1)
    hit = (own == 0).to(logits.dtype)
    bits = (total.log() - own) / math.log(2)
    entropy = (total.log() - (shares * below).sum(-1) / total) / math.log(2)
    quarter = CONTEXT // 4
    columns = [
        bits.mean(-1),
        bits[:, :quarter].mean(-1),
        bits[:, -quarter:].mean(-1),
        hit.mean(-1),
        (1 / total).mean(-1),
        entropy.mean(-1),
        *((what * skill).sum(-1) for skill in skills for what in (hit, bits)),
    ]
    return torch.stack(columns, -1)


def asked(symbols: Int[Tensor, "n length"]) -> Bool[Tensor, "2 n length-1"]:
    """Which characters from the second on ask for each skill: `closing`, `copying`."""
    return torch.stack([closing(symbols), copying(symbols)])


def closing(symbols: Int[Tensor, "n length"]) -> Bool[Tensor, "n length-1"]:
    """Which characters from the second on are closing brackets."""
    return torch.isin(symbols[:, 1:], torch.tensor(CLOSING))


def copying(symbols: Int[Tensor, "n length"]) -> Bool[Tensor, "n length-1"]:
    """Which characters from the second on go on with a word as the window did before.

    A word is a longest run of letters, digits and underscores. Its fourth and later characters
    are asked for as long as all of it so far also began a word further left.
    """
    inside = torch.isin(symbols, torch.tensor(LETTERS))
    code, place = torch.zeros(2, len(symbols), dtype=torch.long)
    codes, places = [], []
    for column, letter in zip(symbols.T, inside.T, strict=True):
        code = torch.where(letter, code * 1_000_003 + column + 1, 0)  # wraps around
        place = torch.where(letter, place + 1, 0)
        codes.append(code)
        places.append(place)
    begun, known = torch.stack(codes, 1), torch.stack(places, 1) > NAME_START
    before = (begun[:, :, None] == begun[:, None, :]).tril(-1).any(-1)
    return (before & known)[:, 1:]
