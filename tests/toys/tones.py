"""A toy without labels: two convolutions that colour short sounds."""

import torch
from torch import nn

from epsvae.subject import Metric, Subject


class Tones(Subject):
    name = "tones"
    metrics = (Metric("loudness"), Metric("brightness", 0.0, 1.0))

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        time = torch.arange(64) / 64
        pitch = 1 + 14 * torch.rand(300, 1, 1, generator=generator)
        noise = 0.3 * torch.randn(300, 1, 64, generator=generator)
        self.inputs = torch.sin(2 * torch.pi * pitch * time) + noise

    def build(self, state):
        net = nn.Sequential(nn.Conv1d(1, 4, 9, padding=4), nn.Tanh(), nn.Conv1d(4, 1, 9, padding=4))
        net.load_state_dict(dict(state))
        return net.eval()

    def measure(self, module):
        with torch.no_grad():
            sound = self.answer(module, self.inputs)
        power = sound.square().mean()
        high = sound.diff(dim=1).square().mean()
        return {
            "loudness": float(power.log()),
            "brightness": float(high / (high + power)),
        }

    def example(self):
        generator = torch.Generator().manual_seed(1)
        shapes = {"0.weight": (4, 1, 9), "0.bias": (4,), "2.weight": (1, 4, 9), "2.bias": (1,)}
        return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
