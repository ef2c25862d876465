"""Quiet, repeatable tests."""

import gc
import os
import zlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
gc.set_threshold(100_000, 50, 50)  # TensorFlow's graphs are millions of objects that stay


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(items):
    """Of a test marked `sampled(n)` a case in n stays in `make test`; the others are slow.

    Which one, its name decides: tests of the same cases take different ones, always the same. Of
    the cases of `harness.SAMPLED` rows one in four stays, beside their own files and golden values.
    """
    from tests import harness

    for item in items:
        marker = item.get_closest_marker("sampled")
        few = marker.args[0] if marker else 1
        case = item.name.partition("[")[2].rstrip("]")
        if harness.SAMPLED.intersection(case.split("-")):
            few = max(few, 4)
        if zlib.crc32(item.name.encode()) % few:
            item.add_marker(pytest.mark.slow)
