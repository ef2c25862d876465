"""An objective: the variational Renyi bound."""

from srnn_tf import objectives
from srnn_tf.core import checks
from srnn_tf.objectives import Objective, importance, iwae


@objectives.register("renyi")
class Renyi(Objective):
    """From the ELBO (alpha towards 1) to the importance weighted bound (alpha = 0).

        1/(1 - alpha) log( 1/K sum{ (p(x, z_k) / q(z_k | x))^(1 - alpha) : k = 1, ..., K } )

    Reference: Li and Turner, arXiv:1602.02311.
    """

    arguments = ("alpha", "num_samples")

    def __init__(self, alpha: float = 0.5, num_samples: int = 8):
        checks.rate(alpha=alpha)
        checks.sizes(num_samples=num_samples)
        self.alpha, self.num_samples = alpha, num_samples

    def loss(self, density, batch, key, step):
        weights = importance(density, batch, key, self.num_samples)
        return weights.loss(self._of(weights), density)

    def bound(self, density, batch, key):
        return self._of(importance(density, batch, key, self.num_samples))

    def _of(self, weights):
        power = 1.0 - self.alpha
        return iwae(power * weights.log_weights) / power
