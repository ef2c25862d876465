"""Quiet, repeatable tests."""

import collections
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(items):
    """Of a test marked `sampled(n)` every n-th case stays in `make test`; the others are slow."""
    seen = collections.Counter()
    for item in items:
        if marker := item.get_closest_marker("sampled"):
            test = item.nodeid.split("[")[0]
            if seen[test] % marker.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[test] += 1
