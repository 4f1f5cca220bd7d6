"""Muon for the hidden matrices, Adam for embeddings and norms.

Muon applies momentum and replaces the update matrix by (roughly) the nearest orthogonal matrix
(Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

Both update parameters in place and keep state only for the parameters that they own, so that two
workers can each update one half of a model in shared memory.
"""

from __future__ import annotations

import torch
from torch import nn


class Muon:
    """Muon with Nesterov momentum; matrices of one shape are processed as one batch."""

    def __init__(self, weights: list[nn.Parameter], rate: float, decay: float) -> None:
        self.rate, self.decay, self.momentum = rate, decay, 0.95
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for weight in weights:
            self.groups.setdefault(tuple(weight.shape), []).append(weight)
        self.averages = {
            shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()
        }

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update all weights from their gradients; ``scale`` multiplies the learning rate."""
        rate = self.rate * scale
        for shape, group in self.groups.items():
            gradient = torch.stack([_gradient(weight) for weight in group])
            average = self.averages[shape].lerp_(gradient, 1 - self.momentum)
            update = orthogonalise(gradient.lerp(average, self.momentum))
            size = rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for weight, change in zip(group, update, strict=True):
                weight.mul_(1 - rate * self.decay).add_(change, alpha=-size)


class Adam:
    """Adam without weight decay."""

    def __init__(self, weights: list[nn.Parameter], rate: float) -> None:
        self.rate, self.betas, self.steps = rate, (0.9, 0.95), 0
        self.weights = weights
        self.means = [torch.zeros_like(weight) for weight in weights]
        self.squares = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update all weights from their gradients; ``scale`` multiplies the learning rate."""
        self.steps += 1
        first, second = (1 - beta**self.steps for beta in self.betas)
        for weight, mean, square in zip(self.weights, self.means, self.squares, strict=True):
            gradient = _gradient(weight)
            mean.lerp_(gradient, 1 - self.betas[0])
            square.lerp_(gradient**2, 1 - self.betas[1])
            root = (square / second).sqrt_().add_(1e-8)
            weight.addcdiv_(mean / first, root, value=-self.rate * scale)


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Set all singular values of a batch (batch, rows, columns) to about one; float32.

    Newton-Schulz iteration x <- a x + (b xx' + c (xx')^2) x with Muon's published coefficients,
    in bfloat16.
    """
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


def _gradient(weight: nn.Parameter) -> torch.Tensor:
    if weight.grad is None:
        raise ValueError("a weight without a gradient cannot be updated")
    return weight.grad
