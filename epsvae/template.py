# mypy: disallow-untyped-defs=False
"""My networks, as `epsvae` sees them. It runs as it is; change what is marked (1) to (5)."""

import torch
from torch import nn

from epsvae.subject import Metric, Subject


class MySubject(Subject):
    name = "my-networks"  # (1) what maps of them are called
    # (2) what your full evaluation measures: name, lowest and highest value, direction
    metrics = (Metric("accuracy", 0.0, 1.0), Metric("loss", 0.0, better="lower"))

    def __init__(self):
        # (3) some hundred inputs like those of your evaluation; right answers, if there are any
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(500, 2, generator=generator)
        self.targets = (self.inputs.prod(dim=1) > 0).long()

    def build(self, state):
        # (4) a state dict becomes your network: strictly, and in evaluation mode
        width = len(state["0.bias"])
        network = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
        network.load_state_dict(state)
        return network.eval()

    def items(self, answers, targets):
        # (5) scores of single inputs whose mean is a metric. A metric that is no such mean:
        # write `def measure(self, module)`, which returns every metric by name, instead.
        loss = nn.functional.cross_entropy(answers, targets, reduction="none")
        return {"accuracy": (answers.argmax(dim=1) == targets).float(), "loss": loss}

    # Optional. A state dict for `epsvae subject check` to try, if no checkpoint is given.
    def example(self):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).state_dict()

    # Optional. What a map sees of each answer: def features(self, answers, targets), (n, few).
