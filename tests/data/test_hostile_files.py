"""Small files that would hang or swell their readers end soon, with an error that names them."""

import pytest

from srnn_tf.data.formats import pianoroll, strokes
from tests import hostile

# In a process of its own each, since what hangs in C hears no signal; and no reader needs
# TensorFlow, which forks badly. `tests/test_hostile.py` has the rest.
QUICK = 2  # seconds


@pytest.mark.parametrize("name", hostile.PICKLES)
def test_pickles(name, tmp_path):
    path = tmp_path / "a.pickle"
    path.write_bytes(hostile.pickled(hostile.PICKLES[name]))
    cost = hostile.limited(lambda: pianoroll.read_parts(path))
    assert cost.error.startswith(f"ValueError: {path}"), cost
    assert cost.seconds < hostile.SECONDS and len(cost.error) < 1000


def test_a_pickle_that_python_writes_of_shared_frames(tmp_path):
    # The opcodes of honest files of either protocol, with objects that are there many times.
    import pickle

    frame, rest = (60, 64), ()
    sequence = [frame, rest, frame]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.pickle"
        parts = {"train": [sequence, sequence], "valid": [sequence], "test": [[frame]]}
        path.write_bytes(pickle.dumps(parts, protocol))
        rolls = pianoroll.read_parts(path)
        assert [len(r) for r in rolls["train"]] == [3, 3]
        assert rolls["train"][1][:, 60 - 21].tolist() == [1, 0, 1]


XML = [name for name in hostile.XML if "million" not in name and "MB" not in name]


@pytest.mark.parametrize("name", XML)
def test_xml(name, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(hostile.XML[name])
    cost = hostile.limited(lambda: strokes.read_iam(path))
    assert cost.error.startswith(f"ValueError: {path}"), cost
    assert cost.seconds < hostile.SECONDS and len(cost.error) < 1000


@pytest.mark.parametrize(
    "includes", [".INCLUDE b.dat\n" * 2, ".INCLUDE b.dat\n.INCLUDE ./b.dat\n", ".INCLUDE c\n" * 2]
)
def test_a_file_of_unipen_is_included_once(includes, tmp_path):
    path, include = hostile.unipen(tmp_path, includes)
    with pytest.raises(ValueError, match=r"a.dat: includes \S+ twice, or itself"):
        strokes.read_unipen(path, include)
    path.write_text(".INCLUDE c\n")
    assert len(strokes.read_unipen(path, include)[0]) == 100_000


def test_variables_of_matlab_that_nobody_wants_are_not_unpacked(tmp_path):
    path = tmp_path / "a.mat"
    hostile.mat(path, [("x", 2**30 // 88 * 88)])
    cost = hostile.limited(lambda: pianoroll.read_parts(path))
    assert "the cell array traindata is missing" in cost.error and cost.seconds < QUICK
    hostile.mat(path, [("traindata", 88 * 2**20)] * 2)
    with pytest.raises(ValueError, match="it has the variable traindata twice"):
        pianoroll.read_parts(path)
