"""Files that are not what they should be are refused before they are opened, or unpacked."""

import json
import os

import h5py
import numpy as np
import pytest

from srnn_tf.core import reading
from tests import hostile


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.mkdir(), "is a folder; accepted is a regular file"),
        (os.mkfifo, "is a named pipe"),
        (lambda p: p.symlink_to("/dev/zero"), "is a device"),
        (hostile.sparse, "has 3,221,225,472 bytes; accepted"),
    ],
)
def test_no_regular_file_or_a_large_one(make, message, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=f"x {message}"):
        reading.read_json(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        reading.read_json(tmp_path / "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "'NaN' is no finite number"),
        ("[-Infinity]", "'-Infinity' is no finite number"),
        ("1e999", "'1e999' is no finite number"),
        ('{"a": 1, "b": 2, "a": 1}', "has the key 'a' twice"),
        ("[" * 10**5, "nested too deeply"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        ("\xff", "can't decode"),
        ("{", "Expecting"),
    ],
)
def test_json_that_is_none(text, message, tmp_path):
    (tmp_path / "x").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"x is not valid JSON: .*{message}"):
        reading.read_json(tmp_path / "x")


def test_json_is_read_as_before(tmp_path):
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": -1e300}}
    (tmp_path / "x").write_text(json.dumps(value))
    assert reading.read_json(tmp_path / "x") == value
    (tmp_path / "x").write_text("[NaN, 1e999]")
    assert str(reading.read_json(tmp_path / "x", finite=False)) == "[nan, inf]"


def test_shortened_takes_no_longer_than_what_it_shows():
    doubled = [1]
    for _ in range(100):
        doubled = [doubled, doubled]
    assert len(reading.shortened(doubled)) == 40
    assert reading.shortened(1 << 10**7) == "an integer of 10000001 bits"
    assert reading.shortened((60, 64)) == "(60, 64)"
    assert len(reading.shortened("x" * 10**7, 200)) <= 200


def test_the_shape_of_an_npy_file_must_fit_its_size(tmp_path):
    for array in (np.zeros([3, 4]), np.zeros([0, 4], np.int16), np.float32(1.0)):
        np.save(tmp_path / "x.npy", array)
        with (tmp_path / "x.npy").open("rb") as file:
            reading.check_npy(file, (tmp_path / "x.npy").stat().st_size)
            assert file.tell() == 0
    content = (tmp_path / "x.npy").read_bytes().replace(b"()", b"(1" + b"0" * 9 + b",)")
    with (tmp_path / "y.npy").open("wb+") as file:
        file.write(content)
        file.seek(0)
        with pytest.raises(ValueError, match="its header says <f4 of shape .1000000000,., 4,000,0"):
            reading.check_npy(file, len(content))


def test_hdf5_of_more_than_its_size(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a/0", data=np.ones([10, 10], "f4"))
    size = (tmp_path / "x.h5").stat().st_size
    assert reading.check_hdf5(tmp_path / "x.h5", size) == [(10, 10)]
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file.create_dataset("a/1", (10**6, 10**6), "f4", chunks=(100, 100))
    with pytest.raises(ValueError, match="'a/1' of shape .1000000, 1000000"):
        reading.check_hdf5(tmp_path / "x.h5", size)
    with pytest.raises(ValueError, match="not readable as HDF5"):
        reading.check_hdf5(__file__, 1)
