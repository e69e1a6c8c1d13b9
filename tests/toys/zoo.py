"""Really trained blobs, and tones of many colours: small libraries, made in a second."""

import torch
from torch.nn.functional import cross_entropy

from epsvae.folders import Example


def blobs_zoo(subject, n_runs, seed, n_checkpoints=5, steps=12):
    """Gradient descent of all runs at once; rates, scales, shares and label noise vary."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return low * (high / low) ** torch.rand(n_runs, generator=generator)

    state = subject.example()
    scale = draw(0.1, 1.5)
    stack = {
        name: torch.randn(n_runs, *tensor.shape, generator=generator)
        * scale.view(-1, *[1] * tensor.ndim)
        for name, tensor in state.items()
    }
    rate, noise = draw(0.02, 1.0), 0.6 * torch.rand(n_runs, generator=generator)
    labels = subject.targets.expand(n_runs, -1)
    flipped = torch.rand(labels.shape, generator=generator) < noise[:, None]
    labels = torch.where(flipped, torch.randint(0, 3, labels.shape, generator=generator), labels)
    seen = torch.arange(labels.shape[1]) < draw(10, 600)[:, None]
    result = []
    for step in range(1, n_checkpoints * steps + 1):
        stack = {name: tensor.requires_grad_() for name, tensor in stack.items()}
        hidden = subject.inputs @ stack["0.weight"].mT + stack["0.bias"][:, None]
        logits = hidden.tanh() @ stack["2.weight"].mT + stack["2.bias"][:, None]
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        loss = (loss.view(labels.shape) * seen).sum(1) / seen.sum(1)
        slopes = torch.autograd.grad(loss.sum(), list(stack.values()))
        stack = {
            name: (tensor - rate.view(-1, *[1] * (tensor.ndim - 1)) * slope).detach()
            for (name, tensor), slope in zip(stack.items(), slopes, strict=True)
        }
        if step % steps == 0:
            result.append({name: tensor.clone() for name, tensor in stack.items()})
    return [
        example(subject, {n: t[run].clone() for n, t in saved.items()}, f"{seed}-{run}")
        for run in range(n_runs)
        for saved in result
    ]


def tones_zoo(subject, n_runs, seed, n_checkpoints=4):
    """Random filters of many sizes, each with a few neighbours."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for run in range(n_runs):
        base = {
            name: torch.randn(tensor.shape, generator=generator)
            * 10 ** (torch.rand(1, generator=generator) - 0.7)
            for name, tensor in subject.example().items()
        }
        for step in range(n_checkpoints):
            state = {
                name: tensor + 0.1 * step * torch.randn(tensor.shape, generator=generator)
                for name, tensor in base.items()
            }
            result.append(example(subject, state, f"{seed}-{run}"))
    return result


def example(subject, state, run):
    """A checkpoint with its true metrics."""
    return Example(state, subject.measure(subject.build(state)), run)
