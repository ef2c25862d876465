"""What a PyTorch user would write: models to train, score and draw from, eager or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.torch_emissions import EMISSIONS
from benchmarks.torch_gaussians import Head, draw, kl
from benchmarks.torch_stepwise import DKF, SRNN, STORN, VRNN


class RNN(nn.Module):
    """`forward(x (T, B, D), y (T, B, D))` is log p(y_t | .) and the KL, (T, B) each."""

    def __init__(self, structure, emission):
        super().__init__()
        p, units = structure.get("dropout", 0.0), structure["units"]
        layers, width = structure["num_layers"], structure["embedding_size"]
        self.embed = nn.Linear(emission["event_size"], width)
        self.lstm = nn.LSTM(width, units, layers, dropout=p if layers > 1 else 0.0)
        self.drop = nn.Dropout(p)
        self.emission = EMISSIONS[emission["class"]](units, emission, p)

    def forward(self, x, y):
        h, _ = self.lstm(self.drop(self.embed(x)))
        return self.emission(h, y), torch.zeros(())

    def step(self, x, state):
        """The next frame after x (B, D), and the state."""
        h, state = self.lstm(self.embed(x)[None], state)
        return self.emission.draw(h[0]), state


class ParallelSRNN(nn.Module):
    """As `RNN`, with latents."""

    def __init__(self, structure, emission):
        super().__init__()
        rate, units = structure.get("dropout", 0.0), structure["units"]
        z, e, hidden = (
            structure["latent_size"],
            structure["embedding_size"],
            structure["hidden_size"],
        )
        self.embed = nn.Linear(emission["event_size"], e)
        self.drop = nn.Dropout(rate)
        self.forward_lstm, self.backward_lstm = nn.LSTM(e, units), nn.LSTM(e, units)
        self.generator = nn.LSTM(units + z, units)
        self.prior, self.posterior = (Head(n * units, hidden, z, rate) for n in (1, 2))
        self.emission = EMISSIONS[emission["class"]](units, emission, rate)

    def forward(self, x, y):
        v, _ = self.forward_lstm(self.drop(self.embed(x)))
        b, _ = self.backward_lstm(torch.flip(self.drop(self.embed(y)), (0,)))
        b = torch.flip(b, (0,))
        p, q = self.prior(v), self.posterior(torch.cat([b, v], -1))
        h, _ = self.generator(torch.cat([v, draw(q)], -1))
        return self.emission(h, y), kl(q, p)

    def step(self, x, state):
        forward, generator = (None, None) if state is None else state
        v, forward = self.forward_lstm(self.embed(x)[None], forward)
        h, generator = self.generator(torch.cat([v, draw(self.prior(v))], -1), generator)
        return self.emission.draw(h[0]), (forward, generator)


MODELS = {"rnn": RNN, "parallel_srnn": ParallelSRNN}
MODELS |= {"vrnn": VRNN, "srnn": SRNN, "storn": STORN, "dmm": DKF}


def build(structure: dict[str, Any], emission: dict[str, Any]) -> nn.Module:
    """The model of two configs, as in a recipe."""
    torch.manual_seed(0)
    return MODELS[structure["class"]](structure, emission)


def compiled(model: nn.Module) -> nn.Module:
    """The model under `torch.compile`, in place; where it has a loop in Python, a step of it.

    Compiling the whole would unroll the loop: minutes for a hundred steps.
    """
    whole = "advance" if hasattr(model, "advance") else "forward"
    for name in (whole, "step"):
        setattr(model, name, torch.compile(getattr(model, name)))
    return model


def _time_major(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(a.swapaxes(0, 1).copy()) for a in arrays]


def training_step(
    model: nn.Module, frames: np.ndarray, previous: np.ndarray
) -> Callable[[], float]:
    """A function that makes one update on frames (B, T, D) and returns the loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    x, y = _time_major(previous, frames)

    def step():
        optimizer.zero_grad()
        log_likelihood, kl = model(x, y)
        loss = -(log_likelihood - 0.2 * kl).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.item()

    return step


def scorer(
    model: nn.Module, frames: np.ndarray, previous: np.ndarray
) -> Callable[[], torch.Tensor]:
    """A function that scores frames (B, T, D): log p, or its bound, (B,)."""
    model.eval()
    x, y = _time_major(previous, frames)

    def score():
        with torch.inference_mode():
            log_likelihood, kl = model(x, y)
            return (log_likelihood - kl).sum(0)

    return score


def sampler(model: nn.Module, rows: int, steps: int, size: int) -> Callable[[], torch.Tensor]:
    """A function that draws `rows` sequences of `steps` frames of `size` values, (T, B, D)."""
    model.eval()

    def sample():
        x, state, drawn = torch.zeros(rows, size), None, []
        with torch.inference_mode():
            for _ in range(steps):
                x, state = model.step(x, state)
                drawn.append(x)
        return torch.stack(drawn)

    return sample
