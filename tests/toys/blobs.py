"""A toy with labels: small classifiers of points in the plane."""

import torch
from torch import nn

from epsvae.subject import Metric, Subject, Units


class Blobs(Subject):
    name = "blobs"
    metrics = (
        Metric("accuracy", 0.0, 1.0),
        Metric("nll", 0.0, better="lower"),
        Metric("confidence", 0.0, 1.0),
    )
    symmetry = (Units((("0.weight", 0), ("0.bias", 0), ("2.weight", 1))),)

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.targets = torch.randint(0, 3, (600,), generator=generator)
        centres = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
        self.inputs = centres[self.targets] + torch.randn(600, 2, generator=generator)

    def build(self, state):
        width = len(state["0.bias"])
        net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 3))
        net.load_state_dict(dict(state))
        return net.eval()

    def items(self, answers, targets):
        log_p = answers.log_softmax(1)
        own = log_p.gather(1, targets[:, None])[:, 0]
        return {
            "accuracy": (answers.argmax(1) == targets).float(),
            "nll": -own,
            "confidence": log_p.exp().amax(1),
        }

    def example(self):
        generator = torch.Generator().manual_seed(1)
        shapes = {"0.weight": (8, 2), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
        return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
