"""The way of speech from files to batches: decoding, batches a second, memory.

    python -m benchmarks.input_pipeline [--hours 45] [--minutes 20] [--workers 2] [--folder DIR]

1. Decoding: seconds of speech read a second, on one core, for each format that a corpus ships in:
   decoded, mixed to one channel, resampled to 16 kHz.
2. Batches: how many batches of F-RNN speech (32 x 40 x 200) the pipeline gives a second through
   `tf.data`, from a prepared folder, against how many the compiled training step takes.
3. Memory: a generated tree of MP3 chapters in Blizzard's layout, `--hours` of it, is prepared and
   then read in batches of 128 streams for `--minutes`; memory is printed as it goes. It is that of
   the process alone (RssAnon), and all of it that is in use (VmRSS), files in the page cache that
   are mapped included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from srnn_tf import data
from srnn_tf.data.formats import audio

RATE = 44100  # of Blizzard's files


def speechlike(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Noise through a slow gate and a low-pass filter, with the loudness of speech, float32."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    noise = np.convolve(rng.standard_normal(count).astype(np.float32), np.ones(8) / 8, "same")
    gate = np.repeat(rng.random(-(-count // (rate // 5))), rate // 5)[:count]
    return (0.2 * noise * gate).astype(np.float32)


def decoding(folder: Path, seconds: float) -> None:
    """Print how many times faster than real time each format is read, on one core."""
    import soundfile

    print(f"| format | {seconds:.0f} s of speech read in, s | times real time |\n|---|---|---|")
    formats = [
        ("TIMIT: SPHERE, 16 kHz", "a.sph", 16000, 1, {"format": "NIST", "subtype": "PCM_16"}),
        ("VCTK 0.80: WAV, 48 kHz", "b.wav", 48000, 1, {"subtype": "PCM_16"}),
        ("VCTK 0.92: FLAC, 48 kHz", "c.flac", 48000, 1, {}),
        ("Blizzard: MP3, 44.1 kHz, stereo", "d.mp3", RATE, 2, {}),
    ]
    for name, file, rate, channels, how in formats:
        signal = speechlike(seconds, rate)
        soundfile.write(folder / file, np.stack([signal] * channels, axis=1), rate, **how)
        start = time.process_time()  # of all threads: what one core has to do
        audio.read_audio(folder / file)
        taken = time.process_time() - start
        print(f"| {name} | {taken:.3f} | {seconds / taken:.0f} |", flush=True)


def chapters(folder: Path, hours: float, minutes_each: float = 20) -> None:
    """A tree of MP3 files: some distinct ones, the others links to them."""
    import soundfile

    distinct = []
    for i in range(max(3, round(hours * 60 / minutes_each))):
        path = folder / f"book_{i // 20:02d}" / f"book_{i // 20:02d}_chp_{i:04d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < 4:
            soundfile.write(path, speechlike(minutes_each * 60, RATE, seed=i), RATE)
            distinct.append(path)
        else:
            os.link(distinct[i % 4], path)


def batch_rates(splits: data.Splits, seconds: float) -> None:
    """Print batches a second of the pipeline and of F-RNN's training step."""
    from benchmarks import cases, contenders

    def rate(work):
        work()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            work()
            count += 1
        return count / (time.perf_counter() - start)

    case = cases.get("f_rnn_speech")
    rows, steps, _ = case.shape
    batches = iter(data.streams(splits.train, rows, steps).as_dataset(endless=True))
    given, taken = rate(lambda: next(batches)), rate(contenders.training("ours", case))
    print(f"\nbatches of {rows} x {steps} x 200 a second: the pipeline gives {given:.1f}, ", end="")
    print(f"F-RNN's training step takes {taken:.2f}: {given / taken:.0f} times as many", flush=True)


def preparing(folder: Path, hours: float, workers: int) -> None:
    """Print how long the tree takes to prepare, and the most memory of any process."""
    peaks, done = {"this": 0.0, "worker": 0.0}, threading.Event()

    def watch():
        while True:
            peaks["this"] = max(peaks["this"], memory("self")[1])
            for child in Path("/proc/self/task").glob("*/children"):
                with contextlib.suppress(OSError, KeyError):  # it may just have ended
                    for pid in child.read_text().split():
                        peaks["worker"] = max(peaks["worker"], memory(pid)[1])
            if done.wait(0.2):
                break

    watcher, start = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    data.prepare("blizzard", folder / "tree", folder / "out", workers=workers)
    taken = time.perf_counter() - start
    done.set()
    watcher.join()
    size = sum(p.stat().st_size for p in (folder / "out").iterdir()) / 1e9
    print(f"\n{hours:g} hours prepared in {taken:.0f} s by {workers} workers, ", end="")
    print(f"{hours * 3600 / taken:.0f} times real time: {size:.2f} GB; the most memory of this ")
    print(f"process {peaks['this']:.0f} MB, of a worker {peaks['worker']:.0f} MB", flush=True)


def memory(process: str = "self") -> tuple[float, float]:
    """MB of a process: its own, and with mapped files."""
    status = Path(f"/proc/{process}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return tuple(int(lines[key].split()[0]) / 1024 for key in ("RssAnon", "VmRSS"))


def reading(splits: data.Splits, minutes: float) -> None:
    """Print memory while batches are read for so long."""
    stream = data.streams(splits.train, 128, 40)
    batches = iter(stream.as_dataset(endless=True))
    start, shown, count = time.perf_counter(), 0, 0
    print("\n| minutes | batches of 128 x 40 x 200 | GB read | RssAnon, MB | VmRSS, MB |")
    print("|---|---|---|---|---|")
    while True:
        passed = (time.perf_counter() - start) / 60
        if passed >= shown * minutes / 10:
            own, whole = memory()
            gigabytes = count * 128 * 41 * 200 * 2 / 1e9
            print(
                f"| {passed:.1f} | {count} | {gigabytes:.1f} | {own:.0f} | {whole:.0f} |",
                flush=True,
            )
            shown += 1
        if shown > 10:
            break
        next(batches)
        count += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=45.0, help="of generated chapters")
    parser.add_argument("--minutes", type=float, default=20.0, help="of reading batches")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where to generate; a temporary folder by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        decoding(folder, min(120.0, args.hours * 3600))
        chapters(folder / "tree", args.hours, min(20.0, args.hours * 20))
        preparing(folder, args.hours, args.workers)
        splits = data.load("blizzard", folder / "out")
        batch_rates(splits, seconds=min(20.0, args.minutes * 60))
        reading(splits, args.minutes)


if __name__ == "__main__":
    main()
