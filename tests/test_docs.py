"""Every example in a docstring runs, and every public name has a docstring."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

import srnn_tf

MODULES = ["srnn_tf", *(m.name for m in pkgutil.walk_packages(srnn_tf.__path__, "srnn_tf."))]
AT_LEAST = 17
DOCUMENTED = """core.scan core.random structures emissions likelihoods objectives density model zoo
    convert testing""".split()


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        module = importlib.import_module(name)
        names = {"np": np, "tf": tf, "srnn_tf": srnn_tf, **vars(module)}
        yield from (test for test in finder.find(module, globs=names) if test.examples)


EXAMPLES = list(examples())


def public(module):
    """The names in `__all__`, or those defined here without an underscore."""
    names = getattr(module, "__all__", None)
    if names is None:
        members = vars(module).items()
        names = [n for n, v in members if n[0] != "_" and defined_in(v, module)]
    return [(n, getattr(module, n)) for n in names]


def defined_in(value, module):
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return is_code and value.__module__ == module.__name__


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_example(example):
    report = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.DocTestRunner(optionflags=flags).run(example, out=report.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(report)


def test_examples_are_found():
    assert len(EXAMPLES) >= AT_LEAST, sorted(e.name for e in EXAMPLES)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(f"srnn_tf.{name}")
    values = [(n, v) for n, v in public(module) if inspect.isclass(v) or inspect.isfunction(v)]
    assert module.__doc__ and values
    for n, value in values:
        text = value.__doc__ or ""
        # Dataclasses and named tuples are given their signature as a docstring.
        assert text.strip() and not text.startswith(f"{value.__name__}("), f"{name}.{n}"
