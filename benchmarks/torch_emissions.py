"""What a PyTorch user would write: the emissions, p(x_t | h_t), and how to draw from them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Likelihood:
    """Bernoulli, or a mixture of K normals, of values whose parameters are (..., P)."""

    def __init__(self, config: str | dict[str, Any]):
        self.binary = config == "bernoulli"
        self.k = 1 if self.binary else config["num_components"]
        self.size = 1 if self.binary else (3 * self.k if self.k > 1 else 2)

    def log_prob(self, params, x):
        if self.binary:
            return -F.binary_cross_entropy_with_logits(params[..., 0], x, reduction="none")
        if self.k == 1:
            mean, log_scale = params.unbind(-1)
            return self._normal(x, mean, log_scale)
        logits, mean, log_scale = params.chunk(3, -1)
        joint = self._normal(x[..., None], mean, log_scale)
        return torch.logsumexp(joint + F.log_softmax(logits, -1), -1)

    @staticmethod
    def _normal(x, mean, log_scale):
        z = (x - mean) * torch.exp(-log_scale)
        return -0.5 * (z * z + math.log(2 * math.pi)) - log_scale

    def draw(self, params):
        if self.binary:
            return torch.bernoulli(torch.sigmoid(params[..., 0]))
        if self.k == 1:
            mean, log_scale = params.unbind(-1)
        else:
            logits, means, log_scales = params.chunk(3, -1)
            which = torch.distributions.Categorical(logits=logits).sample()[..., None]
            mean, log_scale = (a.gather(-1, which)[..., 0] for a in (means, log_scales))
        return mean + torch.exp(log_scale) * torch.randn_like(mean)


class Emission(nn.Module):
    """`forward(h (T, B, H), x (T, B, D))` is log p, (T, B); `draw(h (N, H))` is (N, D).

    Args:
        width: H.
        config: as in a recipe.
        rate: of dropout of h.
    """

    def __init__(self, width: int, config: dict[str, Any], rate: float):
        super().__init__()
        self.likelihood = Likelihood(config["likelihood"])
        self.drop, self.drop_hidden = nn.Dropout(rate), nn.Dropout(config.get("dropout", 0.0))
        self.width, self.size = width, config["event_size"]

    def params(self, layer, h):
        """Parameters of all values from one layer."""
        return layer(h).unflatten(-1, (-1, self.likelihood.size))


class Factorized(Emission):
    def __init__(self, width, config, rate):
        super().__init__(width, config, rate)
        self.out = nn.Linear(width, self.size * self.likelihood.size)

    def forward(self, h, x):
        return self.likelihood.log_prob(self.params(self.out, self.drop(h)), x).sum(-1)

    def draw(self, h):
        return self.likelihood.draw(self.params(self.out, h))


class DeltaSplit(Emission):
    def __init__(self, width, config, rate):
        super().__init__(width, config, rate)
        if config["kind"] == "random":
            first = torch.randperm(self.size)[: config["split_size"]]
        else:
            first = torch.arange(0, self.size, config["stride"])
        is_first = torch.isin(torch.arange(self.size), first)
        self.register_buffer("first", first)
        self.register_buffer("rest", torch.arange(self.size)[~is_first])
        self.hidden = nn.Sequential(
            nn.Linear(width + len(first), width, bias=False),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.LayerNorm(width),
            nn.ReLU(),
            self.drop_hidden,
        )
        self.out_first = nn.Linear(width, len(first) * self.likelihood.size)
        self.out_rest = nn.Linear(width, len(self.rest) * self.likelihood.size)

    def forward(self, h, x):
        h, first, rest = self.drop(h), x[..., self.first], x[..., self.rest]
        log_prob = self.likelihood.log_prob(self.params(self.out_first, h), first).sum(-1)
        hidden = self.hidden(torch.cat([h, first], -1))
        params = self.params(self.out_rest, hidden)
        return log_prob + self.likelihood.log_prob(params, rest).sum(-1)

    def draw(self, h):
        x = h.new_empty(len(h), self.size)
        x[:, self.first] = first = self.likelihood.draw(self.params(self.out_first, h))
        hidden = self.hidden(torch.cat([h, first], -1))
        x[:, self.rest] = self.likelihood.draw(self.params(self.out_rest, hidden))
        return x


class PerValue(nn.Module):
    """A linear layer for each value: (D, N, in) -> (D, N, out)."""

    def __init__(self, size: int, inputs: int, outputs: int):
        super().__init__()
        limit = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(size, outputs, inputs).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(size, outputs))

    def forward(self, x):
        return torch.einsum("dni,doi->dno", x, self.weight) + self.bias[:, None]

    def of_value(self, i, x):
        return F.linear(x, self.weight[i], self.bias[i])


class AutoregressiveRNN(Emission):
    def __init__(self, width, config, rate):
        super().__init__(width, config, rate)
        units = config["units"]
        self.embed = nn.Linear(1, config["embedding_size"])
        self.lstm = nn.LSTM(config["embedding_size"] + width, units)
        self.initial = nn.Parameter(torch.empty(2, units).uniform_(-0.01, 0.01))
        private = config["head"] == "private"
        sizes = units, self.likelihood.size
        self.out = PerValue(self.size, *sizes) if private else nn.Linear(*sizes)

    def _start(self, rows):
        return tuple(s.expand(1, rows, -1).contiguous() for s in self.initial)

    def _inputs(self, x, h):
        """What the recurrence reads: the values, (n, N), each beside the context, (N, H)."""
        embedded = self.drop(self.embed(x[..., None]))
        return torch.cat([embedded, self.drop(h.expand(len(x), *h.shape))], -1)

    def forward(self, h, x):
        leading, h, x = x.shape[:-1], h.flatten(0, -2), x.flatten(0, -2).t()
        start = self._start(len(h))
        after, _ = self.lstm(self._inputs(x[:-1], h), start)
        features = self.drop_hidden(torch.cat([start[0], after]))
        return self.likelihood.log_prob(self.out(features), x).sum(0).view(leading)

    def draw(self, h):
        state, values = self._start(len(h)), []
        for i in range(self.size):
            low = state[0][0]
            params = self.out.of_value(i, low) if hasattr(self.out, "of_value") else self.out(low)
            values.append(self.likelihood.draw(params))
            _, state = self.lstm(self._inputs(values[-1][None], h), state)
        return torch.stack(values, -1)


class MaskedMLP(Emission):
    """The first layer is (D, H + D - 1, units, 1), masked; layer normalization is of each value."""

    def __init__(self, width, config, rate):
        super().__init__(width, config, rate)
        size, units, inputs = self.size, config["units"], width + self.size - 1
        limit = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(size, inputs, units, 1).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(size, units))
        read = torch.arange(inputs) < width + torch.arange(size)[:, None]
        self.register_buffer("mask", read.float()[..., None, None])
        layers = range(config["num_layers"])
        self.layers = nn.ModuleList([PerValue(size, units, units) for _ in layers[1:]])
        self.scales = nn.ParameterList([torch.ones(size, units) for _ in layers])
        self.shifts = nn.ParameterList([torch.zeros(size, units) for _ in layers])
        self.out = PerValue(size, units, self.likelihood.size)

    def _activated(self, layer, x, i=None):
        scale, shift = (p[layer] if i is None else p[layer][i] for p in (self.scales, self.shifts))
        x = F.layer_norm(x, x.shape[-1:]) * scale + shift
        return self.drop_hidden(torch.relu(x))

    def forward(self, h, x):
        leading, h, x = x.shape[:-1], self.drop(h).flatten(0, -2), x.flatten(0, -2)
        inputs = torch.cat([h, x[:, :-1]], -1)[..., None]
        a = torch.einsum("...vj,uvij->...ui", inputs, self.weight * self.mask) + self.bias
        a = self._activated(0, a)
        for i, layer in enumerate(self.layers):
            weighted = torch.einsum("...ui,uoi->...uo", a, layer.weight)
            a = self._activated(i + 1, weighted + layer.bias)
        params = torch.einsum("...ui,uoi->...uo", a, self.out.weight) + self.out.bias
        return self.likelihood.log_prob(params, x).sum(-1).view(leading)

    def draw(self, h):
        inputs = h
        for i in range(self.size):
            a = inputs @ self.weight[i, : self.width + i, :, 0] + self.bias[i]
            a = self._activated(0, a, i)
            for layer, dense in enumerate(self.layers):
                a = self._activated(layer + 1, dense.of_value(i, a), i)
            value = self.likelihood.draw(self.out.of_value(i, a))
            inputs = torch.cat([inputs, value[:, None]], -1)
        return inputs[:, self.width :]


EMISSIONS = {
    "factorized": Factorized,
    "delta_split": DeltaSplit,
    "autoregressive_rnn": AutoregressiveRNN,
    "masked_mlp": MaskedMLP,
}
