"""Audio that is not the one whole recording it is taken for is refused, whatever its container."""

import struct

import numpy as np
import pytest

from srnn_tf.data.formats import audio, riff
from tests import corpora as mini

FORMAT = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)


def wav(data, riff_size=None, size=None, before=b"", after=b""):
    """A WAV file whose sizes are told as they are, or otherwise."""
    body = b"WAVEfmt " + struct.pack("<I", len(FORMAT)) + FORMAT + before + b"data"
    body += struct.pack("<I", len(data) if size is None else size) + data + after
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def made(path, samples, share=1.0, times=1, **how):
    """Write a file, or a part of it, or several times the same."""
    mini.audio(path, samples, **how)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))] * times)
    return path


SIZES = {
    "ffmpeg": (2**32 - 1, 2**32 - 1),
    "SoX": (0x7FFFF024, 0x7FFFF000),
    "arecord": (0x7FFFFFF8, 0x7FFFFFD4),
    "80000000": (0x80000024, 0x80000000),
    "7fffffff": (2**31 - 1, 2**31 - 1),
    "7ffffffe": (2**31 - 1, 2**31 - 2),
    "ffffffdb": (2**32 - 1, 2**32 - 37),
    "ffffff00": (2**32 - 1, 0xFFFFFF00),
    "zeros": (0, 0),
    "header alone": (36, 0),
    "a header of 8 bytes": (8, 0),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_are_not_known(name, tmp_path):
    samples = mini.noise(5.0)  # several blocks
    content = wav(samples.tobytes(), *SIZES[name])
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav"), samples)
    assert (tmp_path / "a.wav").read_bytes() == content


def test_sizes_that_are_known(tmp_path):
    samples = mini.noise(0.2)
    note = b"LIST" + struct.pack("<I", 4) + b"abcd"
    (tmp_path / "a.wav").write_bytes(wav(samples.tobytes(), before=note, after=note))
    np.testing.assert_array_equal(audio.read_audio(tmp_path / "a.wav"), samples)
    (tmp_path / "a.wav").write_bytes(wav(b"", after=note))
    with pytest.raises(ValueError, match="a.wav: holds no samples"):
        audio.read_audio(tmp_path / "a.wav")


def test_a_rf64_file_of_unknown_length(tmp_path):
    samples = mini.noise(0.2)
    path = made(tmp_path / "a.wav", samples, format="RF64")
    np.testing.assert_array_equal(audio.read_audio(path), samples)
    content = bytearray(path.read_bytes())
    content[20:36] = bytes(16)  # the sizes of 64 bits
    path.write_bytes(content)
    assert riff.samples_of(path).told is None


@pytest.mark.parametrize("share", [0.3, 0.95])
@pytest.mark.parametrize("container", ["WAVEX", "RF64", "Ogg Vorbis", "Ogg Opus"])
def test_files_that_are_cut_off(container, share, tmp_path):
    kind, _, coding = container.upper().partition(" ")
    name, how = ("a.ogg", {"subtype": coding}) if coding else ("a.wav", {})
    path = made(tmp_path / name, mini.noise(5.0), share, format=kind, **how)
    with pytest.raises(ValueError, match=f"{name}: cut off"):
        audio.read_audio(path)


def test_a_wav_file_that_is_cut_off_behind_many_chunks(tmp_path):
    """libsndfile's log, where it says so, has an end."""
    chunks = b"".join(b"abcd" + struct.pack("<I", 2) + b"xy" for _ in range(300))
    content = wav(mini.noise(0.5).tobytes(), before=chunks)
    (tmp_path / "a.wav").write_bytes(content[:-1000])
    with pytest.raises(ValueError, match="a.wav: cut off: .* 16000 bytes of samples, 15000 are"):
        audio.read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("container", ["AIFF", "AU", "SVX", "W64", "VOC", "IRCAM", "MAT5", "PAF"])
def test_other_containers(container, tmp_path):
    how = {"subtype": "PCM_16", "format": container}
    with pytest.raises(ValueError, match=f"a.wav: is {container}; accepted are WAV, FLAC, MP3, O"):
        audio.read_audio(made(tmp_path / "a.wav", mini.noise(0.1), **how))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.ogg", {"subtype": "VORBIS"}),
        ("a.ogg", {"subtype": "OPUS"}),
        ("a.flac", {}),
        ("a.mp3", {}),
        ("a.sph", {"format": "NIST", "subtype": "PCM_16"}),
        ("a.wav", {"format": "RF64"}),
        ("a.wav", {}),
    ],
    ids=str,
)
def test_files_that_were_joined(name, how, tmp_path):
    path = made(tmp_path / name, mini.noise(1.0), times=2, **how)
    with pytest.raises(ValueError, match=f"{name}: (holds .* recordings|cannot be decoded)"):
        audio.read_audio(path)


def test_what_follows_the_samples_of_a_sphere_file_is_no_sound(tmp_path):
    samples = mini.noise(0.2)
    path = made(tmp_path / "a.sph", samples, format="NIST", subtype="PCM_16")
    content = path.read_bytes()
    assert b"sample_count -i 3200" in content
    path.write_bytes(content + b"\xff" * 500)
    np.testing.assert_array_equal(audio.read_audio(path), samples)


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_lacks_a_page(coding, tmp_path):
    path = made(tmp_path / "a.ogg", mini.noise(5.0), subtype=coding)
    whole = path.read_bytes()
    assert len(audio.read_audio(path)) == 80_000
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    for first, second in zip(pages[1:], pages[2:], strict=False):
        flipped = whole[: second - 9] + bytes([whole[second - 9] ^ 1]) + whole[second - 8 :]
        for damaged in (whole[:first] + whole[second:], flipped):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="a.ogg: (is damaged: the page|cannot be decoded)"):
                audio.read_audio(path)
    path.write_bytes(whole[:first] + b"x" + whole[first:])
    with pytest.raises(ValueError, match="a.ogg: is damaged: what is at byte"):
        audio.read_audio(path)
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert len(audio.read_audio(path)) == 80_000


def test_a_flac_file_that_does_not_tell_its_length(tmp_path):
    path = made(tmp_path / "a.flac", mini.noise(1.0))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.flac: its header does not tell how long it is"):
        audio.read_audio(path)


def test_tags_behind_the_sound_are_no_recording(tmp_path):
    path = made(tmp_path / "a.mp3", mini.noise(1.0))
    whole = audio.read_audio(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    np.testing.assert_array_equal(audio.read_audio(path), whole)
