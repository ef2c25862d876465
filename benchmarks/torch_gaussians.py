"""What a PyTorch user would write: diagonal Gaussians as pairs (mean, log variance)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Head(nn.Module):
    """Mean and log variance, each (..., Z), of x (..., H), as `srnn_tf`'s head has them.

    Args:
        width: H.
        hidden: the width of the hidden layer; 0 for none.
        size: Z.
        rate: of dropout before each layer.
    """

    def __init__(self, width: int, hidden: int, size: int, rate: float):
        super().__init__()
        self.drop = nn.Dropout(rate)
        self.hidden = nn.Linear(width, hidden) if hidden else None
        self.out = nn.Linear(hidden or width, 2 * size)

    def forward(self, x):
        x = self.drop(x)
        if self.hidden is not None:
            x = self.drop(F.hardtanh(F.leaky_relu(self.hidden(x), 1 / 3), -3.0, 3.0))
        return self.out(x).clamp(-8, 8).chunk(2, -1)


def of_softplus(mean, raw):
    """A Gaussian whose variance is a softplus."""
    return mean, torch.log(F.softplus(raw) + 1e-6)


def draw(gaussian):
    """A reparameterized draw."""
    mean, log_variance = gaussian
    return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)


def kl(q, p):
    """KL(q || p), summed over the last axis, in nats."""
    (qm, ql), (pm, pl) = q, p
    return 0.5 * (pl - ql + torch.exp(ql - pl) + (qm - pm) ** 2 * torch.exp(-pl) - 1).sum(-1)
