"""What a PyTorch user would write: the same models from `nn.LSTM`, and their training step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Heads(nn.Module):
    """Bernoulli logits, or a mixture of K normals per value; returns log p (B, T)."""

    def __init__(self, width: int, event_size: int, likelihood: dict[str, Any]):
        super().__init__()
        self.binary = likelihood["class"] == "bernoulli"
        self.k = 1 if self.binary else likelihood["num_components"]
        per_value = 1 if self.binary else (3 * self.k if self.k > 1 else 2)
        self.event_size = event_size
        self.out = nn.Linear(width, event_size * per_value)

    def forward(self, h, y):
        params = self.out(h)
        if self.binary:
            return -F.binary_cross_entropy_with_logits(params, y, reduction="none").sum(-1)
        params = params.view(*y.shape, -1)
        if self.k == 1:
            mean, log_scale = params.unbind(-1)
            z = (y - mean) * torch.exp(-log_scale)
            return (-0.5 * (z * z + math.log(2 * math.pi)) - log_scale).sum(-1)
        logits, mean, log_scale = params.chunk(3, -1)
        z = (y[..., None] - mean) * torch.exp(-log_scale)
        joint = -0.5 * (z * z + math.log(2 * math.pi)) - log_scale
        return torch.logsumexp(joint + F.log_softmax(logits, -1), -1).sum(-1)


class RNN(nn.Module):
    def __init__(self, structure, emission):
        super().__init__()
        p, units = structure.get("dropout", 0.0), structure["units"]
        layers = structure["num_layers"]
        self.embed = nn.Linear(emission["event_size"], structure["embedding_size"])
        self.lstm = nn.LSTM(
            structure["embedding_size"], units, layers, dropout=p if layers > 1 else 0.0
        )
        self.drop = nn.Dropout(p)
        self.heads = Heads(units, emission["event_size"], emission["likelihood"])

    def forward(self, x, y, weight):
        h, _ = self.lstm(self.drop(self.embed(x)))
        return -self.heads(self.drop(h), y).mean()


class ParallelSRNN(nn.Module):
    def __init__(self, structure, emission):
        super().__init__()
        self.p, units, z = structure.get("dropout", 0.0), structure["units"], None
        z, e = structure["latent_size"], structure["embedding_size"]
        self.embed = nn.Linear(emission["event_size"], e)
        self.drop = nn.Dropout(self.p)
        self.forward_lstm, self.backward_lstm = nn.LSTM(e, units), nn.LSTM(e, units)
        self.generator = nn.LSTM(units + z, units)
        self.prior = self.gaussian(units, structure["hidden_size"], z)
        self.posterior = self.gaussian(2 * units, structure["hidden_size"], z)
        self.heads = Heads(units, emission["event_size"], emission["likelihood"])

    def gaussian(self, width, hidden, z):
        if not hidden:
            return nn.Sequential(nn.Dropout(self.p), nn.Linear(width, 2 * z))
        return nn.Sequential(
            nn.Dropout(self.p),
            nn.Linear(width, hidden),
            nn.LeakyReLU(1 / 3),
            nn.Hardtanh(-3, 3),
            nn.Dropout(self.p),
            nn.Linear(hidden, 2 * z),
        )

    def forward(self, x, y, weight):
        v, _ = self.forward_lstm(self.drop(self.embed(x)))
        b, _ = self.backward_lstm(torch.flip(self.drop(self.embed(y)), (0,)))
        b = torch.flip(b, (0,))
        pm, pl = self.prior(v).clamp(-8, 8).chunk(2, -1)
        qm, ql = self.posterior(torch.cat([b, v], -1)).clamp(-8, 8).chunk(2, -1)
        z = qm + torch.randn_like(qm) * torch.exp(0.5 * ql)
        h, _ = self.generator(torch.cat([v, z], -1))
        kl = 0.5 * (pl - ql + torch.exp(ql - pl) + (qm - pm) ** 2 * torch.exp(-pl) - 1)
        return -(self.heads(self.drop(h), y) - weight * kl.sum(-1)).mean()


MODELS = {"rnn": RNN, "parallel_srnn": ParallelSRNN}


def training_step(
    structure: dict, emission: dict, frames: np.ndarray, previous: np.ndarray
) -> tuple[Callable[[], float], int]:
    """A function that makes one update and returns the loss, and the number of parameters.

    Args:
        structure, emission: configs, as in a recipe.
        frames, previous: (B, T, D).
    """
    torch.manual_seed(0)
    model = MODELS[structure["class"]](structure, emission)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    x, y = (torch.from_numpy(a.swapaxes(0, 1).copy()) for a in (previous, frames))

    def step():
        optimizer.zero_grad()
        loss = model(x, y, 0.2)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.item()

    return step, sum(p.numel() for p in model.parameters())
