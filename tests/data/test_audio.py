"""Speech from files: the same samples, one channel, the right rate, or an error."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from srnn_tf.data.formats import audio, mp3
from tests import corpora as mini

REAL = os.environ.get("SRNN_TF_TEST_DATA")
genuine = pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with speech")
SPEECH = Path(REAL or ".") / "speech"


def tones(rate, *frequencies, seconds=1.0):
    at = np.arange(int(seconds * rate)) / rate
    return sum(0.2 * np.sin(2 * np.pi * f * at) for f in frequencies)


def power(samples, rate, low, high):
    """Of the frequencies from `low` to `high`, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2 / len(samples)
    at = np.fft.rfftfreq(len(samples), 1 / rate)
    return spectrum[(at >= low) & (at < high)].sum() / rate


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.wav", {}),
        ("a.sph", {"format": "NIST", "subtype": "PCM_16"}),
        ("a.sph", {"format": "NIST", "subtype": "PCM_16", "endian": "BIG"}),
        ("a.flac", {}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "FLOAT"}),
    ],
    ids=str,
)
def test_samples_come_back(name, how, tmp_path):
    samples = mini.noise(0.5)
    floating = how.get("subtype") == "FLOAT"
    mini.audio(tmp_path / name, samples / np.float32(32768) if floating else samples, **how)
    found = audio.read_audio(tmp_path / name)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, samples)


def test_channels_are_averaged(tmp_path):
    left, right = mini.noise(0.2, seed=1), mini.noise(0.2, seed=2)
    mini.audio(tmp_path / "a.wav", np.stack([left, right], axis=1))
    wanted = np.rint((left.astype(float) + right) / 2)
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav"), wanted)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_resampling_in_blocks_is_resampling_at_once(rate, tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 777)
    samples = mini.audio(tmp_path / "a.wav", mini.noise(0.4, rate), rate)
    found = audio.read_audio(tmp_path / "a.wav")
    whole = soxr.resample(samples.astype(np.float32) / 32768, rate, 16000, "HQ")
    assert abs(len(found) - len(samples) * 16000 / rate) <= 1
    assert np.abs(found - np.clip(np.rint(whole * 32768), -32768, 32767)).max() <= 1


def test_what_16_khz_cannot_hold_is_gone(tmp_path):
    mini.audio(tmp_path / "a.wav", tones(48000, 1000, 10_000), 48000)
    found = audio.read_audio(tmp_path / "a.wav") / 32768
    kept = power(found, 16000, 900, 1100)
    # 10 kHz would be heard as 6 kHz.
    assert power(found, 16000, 1200, 8000) < 1e-8 * kept
    assert kept == pytest.approx(power(tones(16000, 1000), 16000, 900, 1100), rel=1e-3)


def test_mp3(tmp_path):
    samples = mini.audio(tmp_path / "a.mp3", tones(16000, 440, 1000))
    found = audio.read_audio(tmp_path / "a.mp3") / 32768
    assert abs(len(found) - len(samples)) < 2500  # an encoder pads
    ratio = power(found, 16000, 400, 480) / power(samples, 16000, 400, 480)
    assert ratio == pytest.approx(1, abs=0.2)


def headless(path, tag=b""):
    """The file without its first frame, which tells how many follow."""
    content = path.read_bytes()
    assert any(mark in content[:200] for mark in (b"Info", b"Xing"))
    path.write_bytes(tag + content[content.index(content[:2], 200) :])
    return path


# A small tag, and one with a picture of 100 kB.
ID3 = b"ID3\x03\0\0\0\0\x02\x01" + b"\xff\xfb" + bytes(255)
COVER = b"ID3\x03\0\0\0\x06\x0d\x20" + bytes((6 << 14) + (13 << 7) + 32)


@pytest.mark.parametrize("tag", [b"", ID3, COVER], ids=["no tag", "tag", "cover"])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_that_does_not_tell_its_length(mode, tag, tmp_path):
    # Loud noise after silence: the first frame says little about the others where bits vary.
    samples = np.concatenate([np.zeros(16000, np.int16), mini.noise(3.0), mini.noise(1.0) // 99])
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", 16000, 1, bitrate_mode=mode, compression_level=0.5) as file:
        file.write(samples)
    whole = audio.read_audio(path)
    headless(path, tag)
    with soundfile.SoundFile(path) as file:
        assert file.frames != len(whole)  # what libsndfile takes for the length
    found = audio.read_audio(path)
    assert 0 <= len(found) - len(whole) < 4 * 1152  # padding that only the header tells of
    assert abs(np.std(found[20_000:60_000].astype(float)) / 3000 - 1) < 0.2
    path.write_bytes(path.read_bytes()[: -3 if mode == "VARIABLE" else len(tag) + 5000])
    with pytest.raises(ValueError, match=r"a.mp3: cannot be decoded: it is cut off or damaged"):
        audio.read_audio(path)


def test_an_mp3_header_without_a_count_tells_no_length(tmp_path):
    mini.audio(tmp_path / "a.mp3", mini.noise(3.0))
    whole = audio.read_audio(tmp_path / "a.mp3")
    assert mp3.tells_its_length(tmp_path / "a.mp3")
    content = bytearray((tmp_path / "a.mp3").read_bytes())
    mark = b"Info" if b"Info" in content[:256] else b"Xing"
    content[content.index(mark) + 7] &= ~1
    (tmp_path / "a.mp3").write_bytes(content)
    assert not mp3.tells_its_length(tmp_path / "a.mp3")
    assert 0 <= len(audio.read_audio(tmp_path / "a.mp3")) - len(whole) < 5 * 1152


def test_a_file_that_cannot_be_read_on_is_its_error(tmp_path, monkeypatch):
    mini.audio(tmp_path / "a.mp3", mini.noise(3.0))
    path = headless(tmp_path / "a.mp3")

    def failing(source, target):
        target.write(source.read(4000))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(mp3.shutil, "copyfileobj", failing)
    with pytest.raises(OSError, match="Input/output error"):
        audio.read_audio(path)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


@pytest.mark.parametrize("share", [0.3, 0.95])
@pytest.mark.parametrize("name", ["a.wav", "a.sph", "a.flac", "a.mp3"])
def test_files_that_are_cut_off(name, share, tmp_path):
    how = {"format": "NIST", "subtype": "PCM_16"} if name.endswith("sph") else {}
    mini.audio(tmp_path / name, mini.noise(2.0), **how)
    with pytest.raises(ValueError, match=f"{name}: (cut off|cannot be decoded)"):
        audio.read_audio(cut(tmp_path / name, share))


def test_a_length_that_was_not_known_is_none(tmp_path):
    samples = mini.audio(tmp_path / "a.wav", mini.noise(0.1))
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav"), samples)


def test_a_name_that_is_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.wav")
    samples = mini.noise(0.1)
    mini.audio(tmp_path / "a.wav", samples)
    os.rename(tmp_path / "a.wav", path)
    np.testing.assert_array_equal(audio.read_audio(path), samples)


def test_files_that_are_no_speech(tmp_path):
    path = tmp_path / "a.wav"
    for content in (b"", b"not sound" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.wav: cannot be decoded"):
            audio.read_audio(path)
    mini.audio(path, np.zeros([0], np.int16))
    with pytest.raises(ValueError, match="a.wav: holds no samples"):
        audio.read_audio(path)
    broken = np.ones([100], np.float32)
    broken[3] = np.nan
    mini.audio(path, broken, subtype="FLOAT")
    with pytest.raises(ValueError, match="a.wav: holds samples that are no numbers"):
        audio.read_audio(path)
    mini.audio(path, np.full([100], 300, np.float32), subtype="FLOAT")
    with pytest.raises(ValueError, match="a.wav: holds a sample of 300; full scale is -1 to 1"):
        audio.read_audio(path)
    mini.audio(path, mini.noise(0.1), 8000)
    with pytest.raises(ValueError, match="a.wav: its rate is 8000 Hz; this corpus has 16000"):
        audio.read_audio(path, expected=16000)
    mini.audio(path, mini.noise(0.1), 100)
    with pytest.raises(ValueError, match="a.wav: its rate is 100 Hz; accepted are 1 to 768 kHz"):
        audio.read_audio(path)


def test_without_the_libraries_the_error_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[audio\]"):
        audio.read_audio(tmp_path / "a.wav")


@genuine
def test_sphere_is_its_wav():
    both = [audio.read_audio(SPEECH / "sphere" / f"chan3.{s}", 11025) for s in ("sph", "wav")]
    assert len(both[0]) == 230108
    np.testing.assert_array_equal(*both)


@genuine
def test_both_byte_orders_and_two_channels():
    low, high = (audio.read_audio(SPEECH / "sphere" / f"ex1_{o}.wav") for o in ("01", "10"))
    assert len(low) == 16000 and np.abs(low).max() > 100
    np.testing.assert_array_equal(low, high)
    path = SPEECH / "sphere" / "ex5_p.wav"
    channels, _ = soundfile.read(path, dtype="int16")
    found = audio.read_audio(path, 8000)
    np.testing.assert_array_equal(found, np.rint(channels.mean(axis=1)))


@genuine
def test_shorten_is_refused():
    with pytest.raises(ValueError, match="ex1_01st.wav: .*compressed with shorten.*sph2pipe"):
        audio.read_audio(SPEECH / "sphere" / "ex1_01st.wav")


HEADER = """NIST_1A
   1024
database_id -s5 TIMIT
database_version -s3 1.0
utterance_id -s8 kdb0_sa1
channel_count -i 1
sample_count -i {count}
sample_rate -i 16000
sample_min -i -1534
sample_max -i 2549
sample_n_bytes -i 2
sample_byte_format -s2 01
sample_sig_bits -i 16
end_head
"""


@genuine
def test_a_timit_file(tmp_path):
    samples, rate = soundfile.read(SPEECH / "timit" / "LDC93S1.wav", dtype="int16")
    head = HEADER.format(count=len(samples)).encode().ljust(1024)
    (tmp_path / "SA1.WAV").write_bytes(head + samples.astype("<i2").tobytes())
    found = audio.read_audio(tmp_path / "SA1.WAV", expected=16000)
    assert rate == 16000 and len(found) == 46797
    np.testing.assert_array_equal(found, samples)


@genuine
def test_vctk_at_48_khz():
    paths = sorted(SPEECH.glob("vctk/wav48/*/*.wav"))
    assert len(paths) == 6
    for path in paths:
        samples, _ = soundfile.read(path)
        found = audio.read_audio(path, expected=48000) / 32768
        assert abs(len(found) - len(samples) / 3) <= 1
        # What is below 7 kHz is all there; nothing above 8 kHz has come down to 7 ... 8 kHz.
        for low, high in ((50, 1000), (1000, 4000), (4000, 7000)):
            before, after = power(samples, 48000, low, high), power(found, 16000, low, high)
            assert after == pytest.approx(before, rel=0.02)
        assert power(found, 16000, 7000, 8000) <= 1.02 * power(samples, 48000, 7000, 8000)


@genuine
def test_mp3_of_a_reader():
    long = audio.read_audio(SPEECH / "librivox_mp3" / "audio.mp3")
    assert len(long) / 16000 == pytest.approx(53.27, abs=0.05)
    for i in (1, 2, 3):
        name = f"LJ001-{i:04d}"
        mp3 = audio.read_audio(SPEECH / "ljspeech" / "mp3" / f"{name}.mp3").astype(float)
        flac = audio.read_audio(SPEECH / "ljspeech" / "flac" / f"{name}.flac").astype(float)
        n = 1 << int(np.ceil(np.log2(len(mp3) + len(flac))))
        product = np.fft.irfft(np.fft.rfft(mp3, n) * np.conj(np.fft.rfft(flac, n)))
        assert product.max() > 0.98 * np.linalg.norm(mp3) * np.linalg.norm(flac)


def test_the_length_of_a_file_is_told_before_it_is_decoded(tmp_path, monkeypatch):
    for name in ("a.wav", "a.flac", "a.mp3"):
        soundfile.write(tmp_path / name, tones(8000, 440, seconds=1.5), 8000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    monkeypatch.setattr(audio, "_mono", None)
    for name in ("a.wav", "a.flac", "a.mp3"):
        assert audio.seconds(tmp_path / name) == pytest.approx(1.5, abs=0.1)
    with pytest.raises(ValueError, match="b.wav: cannot be decoded"):
        audio.seconds(tmp_path / "b.wav")
