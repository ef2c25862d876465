"""Miniature corpora in the layouts that their owners ship, from generated signals."""

import numpy as np
import scipy.io
import soundfile

from srnn_tf import data

RATE = 16000


def noise(seconds, rate=RATE, seed=0):
    """16-bit samples of noise, int16 (n,)."""
    rng = np.random.default_rng(seed)
    return (3000 * rng.standard_normal(int(seconds * rate))).astype(np.int16)


def audio(path, samples, rate=RATE, **how):
    """Write samples to a file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return samples


def text(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(words))


def timit(folder, reverse=False, lower=False):
    """20 files in TRAIN and 2 in TEST, SPHERE but for two; their samples by name."""
    names = [f"TRAIN/DR{1 + i % 8}/FABC{i % 4}/SX{i}" for i in range(20)]
    names += ["TEST/DR1/MXYZ0/SA1", "TEST/DR2/MXYZ1/SA2"]
    written = {}
    for i, name in sorted(enumerate(names), reverse=reverse):
        path = folder / (f"{name}.WAV".lower() if lower else f"{name}.WAV")
        how = {"format": "WAV"} if i % 10 == 3 else {"format": "NIST", "subtype": "PCM_16"}
        written[name] = audio(path, noise(0.1 + 0.01 * i, seed=i), **how)
    return written


def vctk(folder):
    """Version 0.80: four speakers."""
    for speaker in (225, 226, 227, 228):
        for i in range(3):
            name = f"p{speaker}_{i:03d}"
            path = folder / "wav48" / f"p{speaker}" / f"{name}.wav"
            audio(path, noise(0.2, 48000, seed=speaker + i), 48000)


def vctk_092(folder):
    """Version 0.92: two microphones."""
    for speaker in (225, 226, 227):
        for mic in (1, 2):
            name = f"p{speaker}_001_mic{mic}.flac"
            path = folder / "wav48_silence_trimmed" / f"p{speaker}" / name
            audio(path, noise(0.2, 48000, seed=mic), 48000)


def blizzard(folder):
    """Chapters in two books."""
    for i in range(5):
        name = f"chp.{i:02d}.the_trumpet.mp3"
        both = np.stack([noise(0.5, 44100, seed=i)] * 2, axis=1)
        audio(folder / f"book{i % 2}" / name, both, 44100)


def speech_commands(folder):
    names = [f"{i:08x}-0000" for i in range(5)]
    for i, name in enumerate(names):
        audio(folder / "flac" / f"{name}.flac", noise(0.2, seed=i))
    for part, chosen in {"train": names[:3], "valid": names[3:4], "test": names[4:]}.items():
        text(folder / f"{part}.txt", [f"{name}.flac\n" for name in chosen])


def iam_xml(strokes):
    """A line of IAM-OnDB; strokes are lists of (x, y)."""
    points = (
        "".join(f'<Point x="{x}" y="{y}" time="0.0"/>\n' for x, y in stroke) for stroke in strokes
    )
    body = "".join(f'<Stroke colour="black">\n{p}</Stroke>\n' for p in points)
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<WhiteboardCaptureSession>\n'
        f"<StrokeSet>\n{body}</StrokeSet>\n</WhiteboardCaptureSession>\n"
    )


def pen(seed, count=3, length=12):
    """Strokes of whole numbers, lists of (x, y)."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 500, [length, 2]).tolist() for _ in range(count)]


def iam_ondb(folder):
    """Four forms of two lines."""
    for i, form in enumerate(("a01-000u", "a01-001w", "b02-010", "c03-081z")):
        sheet = form if form[-1].isdigit() else form[:-1]
        for line in (1, 2):
            path = folder / "lineStrokes" / form[:3] / sheet / f"{form}-{line:02d}.xml"
            text(path, iam_xml(pen(10 * i + line)))


def iam_lists(folder):
    """As the paper has them, with a blank in front."""
    text(folder / "train.txt", [" a01-000u\n", " a01-001w\n", " b02-010\n"])
    text(folder / "valid.txt", [" c03-081z\n"])


def unipen(folder):
    rng = np.random.default_rng(0)
    lengths = np.array([9, 1200, 30, 14, 8], np.int32)
    rows = rng.integers(-40, 40, [lengths.sum(), 3]).astype(np.int16)
    rows[:, 0] = rng.random(len(rows)) < 0.1
    rows[np.cumsum(lengths) - lengths] = 0
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "unipen_bbn_sentences.npz",
        strokes=rows,
        lengths=lengths,
        split=np.array([0, 0, 0, 1, 2], np.uint8),
        source=np.array([f"bba/data/w{i}.dat" for i in range(5)]),
    )


def roll(steps, seed=0):
    """A piano roll that starts and ends with a note."""
    found = (np.random.default_rng(seed).random([steps, 88]) < 0.05).astype(np.uint8)
    found[[0, -1], 40] = 1
    return found


def matlab(name):
    """A maker of the `.mat` file of a collection of piano rolls."""

    def make(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = {}
        for part, count in {"train": 3, "valid": 1, "test": 2}.items():
            cells = np.empty([1, count], object)
            for i in range(count):
                cells[0, i] = roll(20 + i, seed=i)
            content[f"{part}data"] = cells
        scipy.io.savemat(folder / name, content)

    return make


def own_audio(folder, seconds=0.3):
    """A user's recordings, in several formats and rates, in no folders of parts."""
    for i, (suffix, rate) in enumerate([("wav", 8000), ("flac", 22050), ("mp3", 44100)] * 2):
        audio(folder / f"take{i}.{suffix}", noise(seconds, rate, seed=i), rate)


def own_midi(folder):
    for i, part in enumerate(("train", "train", "valid", "test")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        data.write_midi(roll(30, seed=i), folder / part / f"song{i}.mid")


def own_strokes(folder):
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(4):
        rows = rng.standard_normal([20, 3]).astype(np.float32)
        rows[:, 2] = rng.random(20) < 0.2
        rows[0, 2] = 1
        np.save(folder / f"line{i}.npy", rows)
    text(folder / "line5.xml", iam_xml(pen(5)))


# name: maker, options.
MAKERS = {
    "timit": (timit, {}),
    "perm_timit": (timit, {}),
    "vctk": (vctk, {}),
    "blizzard": (blizzard, {}),
    "speech_commands": (speech_commands, {}),
    "perm_speech_commands": (speech_commands, {}),
    "iam_ondb": (iam_ondb, {}),
    "unipen": (unipen, {}),
    "nottingham": (matlab("Nottingham.mat"), {"edition": "any"}),
    "muse": (matlab("MuseData.mat"), {"edition": "any"}),
    "jsb": (matlab("JSB_Chorales.mat"), {"edition": "any"}),
    "piano_midi": (matlab("Piano_midi.mat"), {"edition": "any"}),
    "audio": (own_audio, {}),
    "pianoroll": (own_midi, {}),
    "strokes": (own_strokes, {}),
}


def prepared(name, folder, **options):
    """Make the corpus of a name and prepare it: the prepared folder."""
    make, usual = MAKERS[name]
    make(folder / "source")
    return data.prepare(name, folder / "source", folder / "out", **{**usual, **options})
