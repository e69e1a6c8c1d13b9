"""Digits: classifiers of scikit-learn's handwritten digits, perceptrons and small convolutions."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from epsvae.errors import SubjectError
from epsvae.subject import Metric, State, Subject, Units

N_CLASSES = 10
SIDE = 8
"""Pixels; grey levels are in [0, 1]."""
N_TRAINING = 1000
N_BINS = 15
"""Of the calibration error: equal widths, as Guo et al. (2017) have them."""
SPLIT_SEED = 0


class Images(NamedTuple):
    """The 1,797 images: those that networks may train on, and the others, that evaluate them."""

    training: Float[Tensor, "1000 1 8 8"]
    training_labels: Int[Tensor, "1000"]
    inputs: Float[Tensor, "797 1 8 8"]
    targets: Int[Tensor, "797"]


@cache
def load_images() -> Images:
    """All images in their fixed split."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels / 16, dtype=torch.float32).view(-1, 1, SIDE, SIDE)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    learn, judge = order[:N_TRAINING], order[N_TRAINING:]
    targets = torch.as_tensor(labels, dtype=torch.int64)
    return Images(images[learn], targets[learn], images[judge], targets[judge])


def shifted(
    images: Float[Tensor, "*n 8 8"], down: int = 0, right: int = 1
) -> Float[Tensor, "*n 8 8"]:
    """Images moved by so many pixels; what comes in is black."""
    padded = F.pad(images, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return padded[..., top : top + SIDE, left : left + SIDE]


def perceptron(width: int) -> nn.Module:
    """64 -> width -> width -> 10."""
    return nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(),
            first=nn.Linear(SIDE * SIDE, width),
            first_relu=nn.ReLU(),
            second=nn.Linear(width, width),
            second_relu=nn.ReLU(),
            head=nn.Linear(width, N_CLASSES),
        )
    )


def convolutional(width: int) -> nn.Module:
    """8 x 8 x 1 -> 4 x 4 x width -> 2 x 2 x 2 width -> 10; layers named as the perceptron's."""
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(1, width, 3, stride=2, padding=1),
            first_relu=nn.ReLU(),
            second=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            second_relu=nn.ReLU(),
            head=nn.Conv2d(2 * width, N_CLASSES, SIDE // 4),
            flat=nn.Flatten(),
        )
    )


class Digits(Subject):
    """Networks that say which digit an image shows.

    The answer to an image is twenty numbers: its ten logits, and the ten of the image moved one
    pixel to the right. An input so costs two forward passes, in a map as in the full evaluation.
    (From the first ten alone nobody can tell how a network takes a shift.)
    """

    name: ClassVar[str] = "digits"
    metrics = (
        Metric("accuracy", 0, 1),
        Metric("nll", 0, better="lower"),
        Metric("calibration_error", 0, 1, better="lower"),
        Metric("shifted_accuracy", 0, 1),
    )
    symmetry = (
        Units((("first.weight", 0), ("first.bias", 0), ("second.weight", 1))),
        Units((("second.weight", 0), ("second.bias", 0), ("head.weight", 1))),
    )

    def __init__(self) -> None:
        self.inputs, self.targets = load_images()[2:]

    def example(self) -> State:
        """An untrained perceptron."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return perceptron(16).state_dict()

    def build(self, state: State) -> nn.Module:
        """A perceptron or a convolutional network, of any width.

        Raises SubjectError if a tensor is missing, unknown, or of another shape.
        """
        first = state.get("first.weight", torch.empty(0))
        kinds = {2: perceptron, 4: convolutional}
        if first.ndim not in kinds:
            raise SubjectError(
                "digits: expected first.weight with 2 axes (perceptron) or 4 (convolutional), "
                f"found {_named(state, 'first.weight')}"
            )
        with torch.device("meta"):  # draws no numbers
            module = kinds[first.ndim](len(first))
        for name in sorted({*module.state_dict(), *state}):
            if (expected := _named(module.state_dict(), name)) != (found := _named(state, name)):
                raise SubjectError(f"digits: {name}: expected {expected}, found {found}")
        module.to_empty(device="cpu").load_state_dict(dict(state))
        return module.eval()

    def answer(self, module: nn.Module, inputs: Float[Tensor, "n 1 8 8"]) -> Float[Tensor, "n 20"]:
        """Logits of each image and of the shifted image."""
        return torch.cat([module(inputs), module(shifted(inputs))], 1)

    def measure(self, module: nn.Module) -> Mapping[str, float]:
        """All four metrics on the 797 images; the calibration error is that of unshifted ones."""
        assert self.targets is not None
        with torch.no_grad():
            answers = self.answer(module, self.inputs)
        means = {name: float(v.mean()) for name, v in self.items(answers, self.targets).items()}
        error = calibration_error(answers[:, :N_CLASSES], self.targets)
        return means | {"calibration_error": error}

    def items(
        self, answers: Float[Tensor, "n 20"], targets: Int[Tensor, "n"] | None
    ) -> Mapping[str, Float[Tensor, "n"]]:
        """Whether each image is recognised, in place and shifted; the loss in place."""
        assert targets is not None
        in_place, moved = answers.split(N_CLASSES, 1)
        return {
            "accuracy": (in_place.argmax(1) == targets).float(),
            "nll": F.cross_entropy(in_place, targets, reduction="none"),
            "shifted_accuracy": (moved.argmax(1) == targets).float(),
        }

    def features(
        self, answers: Float[Tensor, "n 20"], targets: Int[Tensor, "n"] | None
    ) -> Float[Tensor, "n 10"]:
        """`certainty` about each image in place, then about the shifted one."""
        assert targets is not None
        return torch.cat([certainty(logits, targets) for logits in answers.split(N_CLASSES, 1)], 1)


def certainty(logits: Float[Tensor, "n 10"], targets: Int[Tensor, "n"]) -> Float[Tensor, "n 5"]:
    """Of each image: loss, margin and probability of its digit, confidence, correctness.

    The margin is that over the best other logit, compressed by asinh: networks differ in the size
    of their logits by orders of magnitude.
    """
    logit = logits.gather(1, targets[:, None]).squeeze(1)
    others = logits.masked_fill(F.one_hot(targets, N_CLASSES).bool(), -torch.inf)
    margin = logit - others.amax(1)
    loss = logits.logsumexp(1) - logit
    confidence = logits.softmax(1).amax(1)
    columns = (loss, margin.asinh(), (-loss).exp(), confidence, (margin > 0).float())
    return torch.stack(columns, 1)


def calibration_error(answers: Float[Tensor, "n 10"], targets: Int[Tensor, "n"]) -> float:
    """Expected calibration error in [0, 1]: the gaps of confidence and accuracy in all bins.

    A bin (k/15, (k+1)/15] of confidence weighs as many images as fall in it.
    """
    confidence, guess = answers.softmax(1).max(1)
    bins = (confidence * N_BINS).ceil().long().clamp(1, N_BINS) - 1
    gaps = torch.zeros(N_BINS).index_add(0, bins, (guess == targets).float() - confidence)
    return float(gaps.abs().sum() / len(answers))


def _named(state: State, name: str) -> str:
    """A tensor of a state dict in words: its shape, or that it is missing."""
    if name not in state:
        return "nothing"
    kind = "" if state[name].is_floating_point() else f" of {state[name].dtype}"
    return f"shape {tuple(state[name].shape)}{kind}"
