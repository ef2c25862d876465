"""One object for training, `evaluate` and `log_prob`; strings are shorthands of it."""

import json

import keras
import numpy as np
import pytest

from srnn_tf import ELBO, FIVO, IWAE, Exact, KLSchedule, SequenceModel, objectives
from srnn_tf.core import registry
from tests import harness

CASES = {
    case.structure: case
    for case in harness.cases(cell="lstm", likelihood="bernoulli", flat=False)
    if case.structure in ("vrnn", "rnn")
}
OBJECTS = [
    ELBO({"initial": 0.5}, free_nats=0.1),
    IWAE(3, max_samples=2),
    FIVO(4, ess_threshold=0.7, proposal="prior"),
    Exact(),
]


def model_of(name, **how):
    model = harness.build(CASES[name])
    model.xla = False
    model.compile(run_eagerly=True, **how)
    return model


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (ELBO(num_samples=2), {"bound": "elbo", "num_samples": 2}),
        (IWAE(3), {"bound": "iwae", "num_samples": 3}),
        (FIVO(3, 0.8, "prior"), {"bound": "fivo", "num_samples": 3, "ess_threshold": 0.8}),
    ],
    ids=str,
)
def test_a_shorthand_is_its_object(objective, words):
    model, x = harness.shared(CASES["vrnn"]), harness.frames(CASES["vrnn"])
    words = {**words, **({"proposal": "prior"} if words["bound"] == "fivo" else {})}
    np.testing.assert_array_equal(model.log_prob(x, bound=objective), model.log_prob(x, **words))


@pytest.mark.parametrize("objective", OBJECTS[1:3], ids=str)
def test_one_object_trains_evaluates_and_scores(objective):
    model, x = model_of("vrnn", objective=objective), harness.frames(CASES["vrnn"])
    assert model.objective is objective
    found = model.evaluate(x, verbose=0, return_dict=True)["bound"] * np.prod(x.shape[:2])
    bound = model.log_prob(x, bound=objective)
    np.testing.assert_allclose(np.sum(bound), found, rtol=1e-4)
    assert np.isfinite(model.fit(x, verbose=0).history["loss"][0])


@pytest.mark.parametrize("objective", OBJECTS, ids=str)
def test_a_config_gives_the_same_objective(objective):
    config = json.loads(json.dumps(registry.describe(objectives.OBJECTIVES, objective)))
    assert objectives.get(config) == objective and "module" not in config
    assert repr(objective).startswith(type(objective).__name__)


def test_an_exact_model_is_trained_exactly():
    model = model_of("rnn")
    assert model.objective == Exact() == model_of("rnn", objective=Exact()).objective
    x = harness.frames(CASES["rnn"])
    np.testing.assert_array_equal(model.log_prob(x, bound=Exact()), model.log_prob(x))


def test_a_kl_schedule_of_before_is_the_default_objectives():
    """Configs had it among the arguments of the model."""
    schedule = {"initial": 0.1, "increment": 0.01, "final": 0.5}
    config = harness.shared(CASES["vrnn"]).get_config()
    assert "kl_schedule" not in config
    model = SequenceModel.from_config({**config, "kl_schedule": schedule})
    assert model.objective == ELBO(KLSchedule(**schedule))
    model.compile(free_nats=0.5)
    assert model.objective == ELBO(KLSchedule(**schedule), free_nats=0.5)
    exact = harness.shared(CASES["rnn"]).get_config()
    assert SequenceModel.from_config({**exact, "kl_schedule": schedule}).objective == Exact()


def test_a_schedule_given_to_the_model_is_an_error_that_says_where_it_belongs():
    config = harness.shared(CASES["vrnn"]).get_config()
    with pytest.raises(ValueError, match="`kl_schedule` must be given to the objective"):
        SequenceModel(**config, kl_schedule={"initial": 0.5})


def test_a_compile_config_of_before_is_read():
    model = model_of("vrnn", objective="iwae", num_samples=4, max_samples=2)
    config = model.get_compile_config()
    assert config["objective"] == {"class": "iwae", "num_samples": 4, "max_samples": 2}
    before = {**config, "objective": "iwae", "num_samples": 4, "max_samples": 2, "free_nats": 0.0}
    again = harness.build(CASES["vrnn"])
    again.compile_from_config(before)
    assert again.objective == model.objective == IWAE(4, 2)


REFUSED = [
    ("vrnn", "compile", {"objective": IWAE(2), "num_samples": 3}, "`num_samples` must be left out"),
    ("vrnn", "score", {"bound": FIVO(2), "proposal": "prior"}, "`proposal` must be left out"),
    ("vrnn", "score", {"bound": IWAE(2), "ess_threshold": 0.5}, "`ess_threshold` must be left"),
    ("rnn", "score", {"bound": IWAE(2)}, "IWAE needs a model with latents"),
    ("rnn", "compile", {"objective": FIVO(2)}, "FIVO needs a model with latents"),
    ("vrnn", "compile", {"objective": Exact()}, "Exact needs a model without latents"),
    ("vrnn", "score", {"bound": "exact"}, "Exact needs a model without latents"),
    ("vrnn", "compile", {"objective": ELBO(num_samples=2)}, "of an ELBO must be 1 in training"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    name, act, given, message = REFUSED[number]
    model, frames = harness.shared(CASES[name]), harness.frames(CASES[name])
    with pytest.raises(ValueError, match=message):
        model.compile(**given) if act == "compile" else model.log_prob(frames, **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IWAE(0), "`num_samples` must be an integer of at least 1"),
        (lambda: FIVO(0), "`num_particles` must be an integer of at least 1"),
        (lambda: FIVO(2, proposal="x"), "unknown `proposal` 'x'"),
        (lambda: ELBO(free_nats=-1.0), "`free_nats` must be a number of at least 0"),
        (lambda: ELBO({"initial": -1.0}), "`initial` of a KL schedule must be >= 0"),
        (lambda: objectives.get("iwea"), "unknown objective 'iwea'. Did you mean 'iwae'"),
    ],
)
def test_bad_arguments_of_objectives(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_registering_refuses():
    register = objectives.register
    with pytest.raises(ValueError, match="the objective 'iwae' is registered already"):
        register("iwae", FIVO)
    with pytest.raises(ValueError, match="an? objective must be a subclass of Objective"):
        register("mine", dict)
    with pytest.raises(ValueError, match="must be letters, digits and underscores"):
        register("my objective", IWAE)
    assert register("iwae", IWAE) is IWAE and "mine" not in objectives.OBJECTIVES


@objectives.register("scaled_elbo")
class Scaled(ELBO):
    """An ELBO times a trained number: an objective that owns a variable."""

    arguments = ()

    def __init__(self):
        super().__init__()
        self.scale = keras.Variable(1.0, name="scale")
        self.variables = (self.scale,)

    def loss(self, density, batch, key, step):
        loss = super().loss(density, batch, key, step)
        return loss._replace(value=loss.value * self.scale + 100.0 * self.scale**2)

    def bound(self, density, batch, key):
        return super().bound(density, batch, key) - 1.0


def test_what_an_objective_owns_is_trained_and_saved(tmp_path):
    model, x = model_of("vrnn", objective=Scaled()), harness.frames(CASES["vrnn"])
    weights = len(model.density.variables)
    model.compile(objective=Scaled(), run_eagerly=True)  # again: the first one's are gone
    assert len(model.trainable_variables) == weights + 1
    model.fit(x, verbose=0)
    scale = float(model.objective.scale)
    assert scale < 1.0
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert float(again.objective.scale) == scale
    plain = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert len(plain.trainable_variables) == weights
    np.testing.assert_array_equal(plain.log_prob(x), again.log_prob(x))
    model.compile(run_eagerly=True)
    assert len(model.trainable_variables) == weights


class Lower(IWAE):
    """One nat below IWAE."""

    def bound(self, density, batch, key):
        return super().bound(density, batch, key) - 1.0


def test_a_subclass_is_scored_by_its_own_bound():
    model, x = harness.shared(CASES["vrnn"]), harness.frames(CASES["vrnn"])
    pairs = [(Scaled(), ELBO()), (Lower(3), IWAE(3))]
    for mine, parent in pairs:
        lower, bound = (model.log_prob(x, bound=objective) for objective in (mine, parent))
        np.testing.assert_allclose(lower, bound - 1.0, rtol=1e-5)


def test_an_elbo_of_several_draws_is_its_bound():
    model, x = harness.shared(CASES["vrnn"]), harness.frames(CASES["vrnn"])
    density, objective = model.density, ELBO(num_samples=3)
    found = objective.bound(density, density.batch(x), None)
    np.testing.assert_allclose(found, model.log_prob(x, bound=objective), rtol=1e-5)


def test_a_schedule_of_a_config_stays_the_models_own():
    schedule = {"initial": 0.3, "increment": 0.01, "final": 0.9}
    config = {**harness.shared(CASES["vrnn"]).get_config(), "kl_schedule": schedule}
    model = SequenceModel.from_config(config)
    model.compile("adam", objective="iwae", num_samples=2)
    model.compile("adam")
    assert model.objective == ELBO(schedule) and model.get_config()["kl_schedule"] == schedule
    again = SequenceModel.from_config(json.loads(json.dumps(model.get_config())))
    assert again.default_objective == ELBO(schedule)


def test_arguments_are_those_of_the_constructor():
    with pytest.raises(TypeError, match="`arguments` of Forgetful must name the parameters"):

        class Forgetful(IWAE):
            def __init__(self, beta):
                super().__init__()


def test_an_objective_that_could_not_be_saved_is_refused():
    with pytest.raises(ValueError, match="Lower is not registered, and could not be saved"):
        harness.build(CASES["vrnn"]).compile(objective=Lower(2))
