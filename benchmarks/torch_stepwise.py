"""What a PyTorch user would write: models whose latents are drawn step by step, in Python.

Public code has the recurrences that read no latents as one call of `nn.LSTM`, and a Python loop
over the steps where a latent is read. So these have too: VRNN with an LSTM cell, a posterior and a
decoder in the loop; SRNN and DKF with a posterior in the loop; STORN, whose latents are
independent given the data, without one. What a step of a loop does is its method `advance`.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.torch_emissions import EMISSIONS
from benchmarks.torch_gaussians import Head, draw, kl, of_softplus


def _emission(width, structure, emission):
    return EMISSIONS[emission["class"]](width, emission, structure.get("dropout", 0.0))


class VRNN(nn.Module):
    """`forward(x (T, B, D), y (T, B, D))` is log p(y_t | .) and the KL, (T, B) each."""

    def __init__(self, structure, emission):
        super().__init__()
        rate, hidden = structure.get("dropout", 0.0), structure["hidden_size"]
        units, e, z = (structure[k] for k in ("units", "embedding_size", "latent_size"))
        self.latent_size = z
        self.embed, self.drop = nn.Linear(emission["event_size"], e), nn.Dropout(rate)
        self.recurrent = nn.LSTMCell(e + z, units)
        self.prior, self.posterior = Head(units, hidden, z, rate), Head(e + units, hidden, z, rate)
        self.emission = _emission(units + z, structure, emission)

    def start(self, rows):
        zeros = torch.zeros(rows, self.recurrent.hidden_size)
        return torch.zeros(rows, self.latent_size), (zeros, zeros)

    def advance(self, x, e, y, z, state):
        """A step: x and e the embedded frames t - 1 and t, y the frame t."""
        state = self.recurrent(torch.cat([x, z], -1), state)
        mean, log_variance = self.posterior(torch.cat([e, state[0]], -1))
        z = draw((mean, log_variance))
        return self.emission(torch.cat([state[0], z], -1), y), mean, log_variance, z, state

    def forward(self, x, y):
        xs, es = self.drop(self.embed(x)), self.drop(self.embed(y))
        z, state = self.start(x.shape[1])
        found = []
        for t in range(len(x)):
            score, mean, log_variance, z, state = self.advance(xs[t], es[t], y[t], z, state)
            found.append((score, mean, log_variance, state[0]))
        score, mean, log_variance, v = (torch.stack(each) for each in zip(*found, strict=True))
        return score, kl((mean, log_variance), self.prior(v))

    def step(self, x, state):
        """The next frame after x (B, D), and the state."""
        z, state = self.start(len(x)) if state is None else state
        state = self.recurrent(torch.cat([self.embed(x), z], -1), state)
        z = draw(self.prior(state[0]))
        return self.emission.draw(torch.cat([state[0], z], -1)), (z, state)


class SRNN(nn.Module):
    """As `VRNN`: a chain of latents on an LSTM, and an LSTM over the future for its posterior."""

    def __init__(self, structure, emission):
        super().__init__()
        rate, hidden = structure.get("dropout", 0.0), structure["hidden_size"]
        units, e, z = (structure[k] for k in ("units", "embedding_size", "latent_size"))
        self.latent_size = z
        self.embed, self.drop = nn.Linear(emission["event_size"], e), nn.Dropout(rate)
        self.ahead, self.backward = nn.LSTM(e, units), nn.LSTM(e + units, units)
        self.prior, self.posterior = (Head(units + z, hidden, z, rate) for _ in range(2))
        self.emission = _emission(units + z, structure, emission)

    def advance(self, b, z):
        """A step: b is the state of the LSTM over the future."""
        mean, log_variance = self.posterior(torch.cat([b, z], -1))
        return mean, log_variance, draw((mean, log_variance))

    def forward(self, x, y):
        v, _ = self.ahead(self.drop(self.embed(x)))
        future = torch.cat([self.drop(self.embed(y)), v], -1)
        b = self.backward(future.flip(0))[0].flip(0)
        z, found = torch.zeros(x.shape[1], self.latent_size), []
        for t in range(len(x)):
            before = z
            mean, log_variance, z = self.advance(b[t], z)
            found.append((mean, log_variance, before, z))
        mean, log_variance, before, z = (torch.stack(each) for each in zip(*found, strict=True))
        p = self.prior(torch.cat([v, before], -1))
        return self.emission(torch.cat([v, z], -1), y), kl((mean, log_variance), p)

    def step(self, x, state):
        z, state = (torch.zeros(len(x), self.latent_size), None) if state is None else state
        v, state = self.ahead(self.embed(x)[None], state)
        z = draw(self.prior(torch.cat([v[0], z], -1)))
        return self.emission.draw(torch.cat([v[0], z], -1)), (z, state)


class STORN(nn.Module):
    """As `VRNN`: independent latents, which one LSTM infers and another reads."""

    def __init__(self, structure, emission):
        super().__init__()
        rate, hidden = structure.get("dropout", 0.0), structure["hidden_size"]
        units, e, z = (structure[k] for k in ("units", "embedding_size", "latent_size"))
        self.latent_size = z
        self.embed, self.drop = nn.Linear(emission["event_size"], e), nn.Dropout(rate)
        self.recognition, self.generator = nn.LSTM(e, units), nn.LSTM(e + z, units)
        self.posterior = Head(units, hidden, z, rate)
        self.emission = _emission(units, structure, emission)

    def forward(self, x, y):
        q = self.posterior(self.recognition(self.drop(self.embed(y)))[0])
        h, _ = self.generator(torch.cat([self.drop(self.embed(x)), draw(q)], -1))
        return self.emission(h, y), kl(q, [torch.zeros_like(part) for part in q])

    def step(self, x, state):
        z = torch.randn(len(x), self.latent_size)
        h, state = self.generator(torch.cat([self.embed(x), z], -1)[None], state)
        return self.emission.draw(h[0]), state


class DKF(nn.Module):
    """As `VRNN`: latents that form a Markov chain, gated transition, posterior of the future."""

    def __init__(self, structure, emission):
        super().__init__()
        rate = structure.get("dropout", 0.0)
        units, e, z = (structure[k] for k in ("units", "embedding_size", "latent_size"))
        wide, out = structure["transition_units"], structure["emission_units"]
        self.latent_size = z
        self.embed, self.drop = nn.Linear(emission["event_size"], e), nn.Dropout(rate)
        self.right = nn.LSTM(e, units)
        self.combiner, self.head = nn.Linear(z, units), nn.Linear(units, 2 * z)
        self.gate_hidden, self.gate = nn.Linear(z, wide), nn.Linear(wide, z)
        self.proposal_hidden, self.proposal = nn.Linear(z, wide), nn.Linear(wide, z)
        self.linear, self.variance = nn.Linear(z, z), nn.Linear(z, z)
        self.emit_0, self.emit_1 = nn.Linear(z, out), nn.Linear(out, out)
        self.emission = _emission(out, {}, emission)

    def advance(self, r, z):
        """A step: r is the state of the LSTM over the future."""
        joined = 0.5 * (torch.tanh(self.combiner(z)) + r)
        mean, log_variance = of_softplus(*self.head(joined).chunk(2, -1))
        return mean, log_variance, draw((mean, log_variance))

    def transition(self, z):
        gate = torch.sigmoid(self.gate(torch.relu(self.gate_hidden(z))))
        proposal = self.proposal(torch.relu(self.proposal_hidden(z)))
        mean = (1 - gate) * self.linear(z) + gate * proposal
        return of_softplus(mean, self.variance(torch.relu(proposal)))

    def emitted(self, z):
        return torch.relu(self.emit_1(torch.relu(self.emit_0(z))))

    def forward(self, x, y):
        future = self.drop(torch.relu(self.embed(y)))
        r = self.drop(self.right(future.flip(0))[0].flip(0))
        z, found = torch.zeros(x.shape[1], self.latent_size), []
        for t in range(len(x)):
            mean, log_variance, z = self.advance(r[t], z)
            found.append((mean, log_variance, z))
        mean, log_variance, z = (torch.stack(each) for each in zip(*found, strict=True))
        first = torch.zeros_like(z[:1])  # z_1 is standard normal
        p = [torch.cat([first, part]) for part in self.transition(z[:-1])]
        return self.emission(self.emitted(z), y), kl((mean, log_variance), p)

    def step(self, x, state):
        standard = torch.zeros(len(x), self.latent_size)
        z = draw((standard, standard) if state is None else self.transition(state))
        return self.emission.draw(self.emitted(z)), z
