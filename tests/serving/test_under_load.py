"""Many clients at once, and many requests, against the substitute for TensorFlow Serving."""

import pytest

from benchmarks import scaling, serving, sizing

NAME = "f_srnn_bach"


@pytest.fixture(scope="module")
def held():
    return serving.material(NAME)


@pytest.mark.slow
@pytest.mark.parametrize("batching", [False, True])
def test_fifty_clients_get_their_own_answers(held, batching):
    found = serving.under_load(NAME, batching, 50, 100, *held)
    print(f"batching {batching}: {found}")
    assert (found.wrong, found.lost) == (0, 0)
    assert 0.0 < found.p50 <= found.p99 and found.rate > 0.0


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_requests(held):
    (early, before), (late, after) = serving.memory_of(NAME, 10_000, *held)
    print(f"{before:.0f} MB after {early} requests, {after:.0f} MB after {late}")
    assert (early, late) == (1_000, 10_000)
    assert after < 1.05 * before


def numbers(text):
    """The cells of a table's only row."""
    (row,) = [line for line in text.splitlines() if line.startswith("| f_")]
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.slow
def test_sizing_prints_a_row(capsys):
    sizing.main(["--models", "f_rnn_bach"])
    name, shape, *cells = numbers(capsys.readouterr().out)
    assert (name, shape, len(cells)) == ("f_rnn_bach", "1 x 100 x 88", 7)
    disk, seconds, latency, rate, before, loaded, most = (
        float(cell.replace(",", "")) for cell in cells
    )
    assert disk > 0.1 and seconds > 0 and latency > 0 and rate > 100
    assert most >= loaded > before > 100


@pytest.mark.slow
@pytest.mark.skipif(len(scaling.physical_cores()) < 2, reason="two cores are needed")
def test_scaling_prints_a_row(capsys):
    words = ["--cases", "f_srnn_midi", "--scale", "12", "--updates", "20", "--rounds", "1"]
    scaling.main([*words, "--batch", "4"])
    name, shape, one, *others = numbers(capsys.readouterr().out)
    assert (name, shape) == ("f_srnn_midi", "4 x 9 x 7") and float(one) > 0.0
    assert len(others) == 3 and all(cell.endswith("%)") for cell in others)
