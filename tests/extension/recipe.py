"""A recipe, which makes the parts a name that `srnn-tf train` knows."""

from srnn_tf import recipes
from tests.extension import hidden_layer, markov, switches  # noqa: F401, each registers itself

recipes.register(
    recipes.Recipe(
        name="markov_house",
        dataset="house",
        structure={"class": "markov", "latent_size": 3, "hidden_size": 4},
        emission={"class": "hidden_layer", "event_size": switches.WIDTH, "units": 4},
        event_size=switches.WIDTH,
        window=5,
        batch_size=2,
        steps=2000,
        kl_schedule={"initial": 0.2, "increment": 1e-3, "final": 1.0},
    )
)
