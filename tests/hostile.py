"""Small files that would hang or swell what reads them, and what runs a reader with a limit.

    python -m tests.hostile [BEGINNING OF A NAME ...]

prints what each costs. The limit is on a process of its own, since a loop in C hears no signal.
"""

import json
import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

SECONDS, MIB = 10, 1024
PATIENCE = 6  # times as long: other processes may be at work, and seconds are those of the CPU
PARTS = ("train", "valid", "test")


class Cost(NamedTuple):
    """What a call came to: its error, seconds, and the most MiB of its process."""

    error: str
    seconds: float
    mib: float


def limited(call, seconds=SECONDS):
    """Call a function in a child process, which is ended where it takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            call()
            text = "no error"
        except BaseException as error:  # the parent is told, whatever it is
            text = f"{type(error).__name__}: {error}"
            if not isinstance(error, (ValueError, OSError)):
                text += traceback.format_exc()
        os.write(writer, text.encode("utf-8", "replace")[:2000])
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], seconds * PATIENCE)
    text = b"hangs"
    if ready:
        text = os.read(reader, 4000) or b"died"
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, _, usage = os.wait4(child, 0)
    return Cost(text.decode(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


# Pickles, by hand: what Python's own pickler would not write.


def pickled(train):
    """A pickle of protocol 2 whose `train` is what some opcodes leave."""
    one = b"](](K<\x85ee"  # one sequence of one frame of one note
    body = b"\x80\x02}(" + _text("train") + train
    return body + b"".join(_text(p) + one for p in PARTS[1:]) + b"u."


def _text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def _memoized(levels, kind):
    """A list, or tuple, of twice the same one, and so on."""
    pair = {"list": b"](h%sh%se", "tuple": b"h%sh%s\x86"}[kind]
    out = {"list": b"]", "tuple": b")"}[kind] + b"q\x000"
    for i in range(levels):
        out += pair.replace(b"%s", bytes([i])) + b"q" + bytes([i + 1]) + b"0"
    return out + b"h" + bytes([levels])


def _dtype(code):
    made = b"cnumpy\ndtype\n" + code + b"K\x00K\x01\x87R"
    return made + b"(K\x03" + _text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def _array(dtype, data):
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    return made + _text("b") + b"\x87R(K\x01K\x01\x85" + dtype + b"\x89" + data + b"tb"


def _many(count, item):
    return b"](" + item * count + b"e"


PICKLES = {
    "doubled lists as a frame": b"](](" + _memoized(60, "list") + b"ee",
    "doubled lists as a sequence": b"](" + _memoized(60, "list") + b"e",
    "doubled tuples as a note": b"](](" + _memoized(60, "tuple") + b"\x85ee",
    "doubled tuples as a key": b"}" + _memoized(60, "tuple") + b"Ns",
    "doubled tuples as keys": b"}(" + _memoized(60, "tuple") + b"Nu",
    "doubled tuples as a key of DICT": b"(" + _memoized(60, "tuple") + b"N" + b"d",
    "doubled tuples in a set": b"\x8f(" + _memoized(60, "tuple") + b"\x90",
    "doubled tuples in a frozenset": b"(" + _memoized(60, "tuple") + b"\x91",
    "doubled tuples as a type": (
        b"](](" + _array(_dtype(_memoized(60, "tuple")), _text("a")) + b"ee"
    ),
    "one long sequence, many times": (
        _many(100_000, b"K<\x85") + b"q\x000" + b"](" + b"h\x00" * 100_000 + b"e"
    ),
    "one long frame, many times": (
        _many(100_000, b"K<") + b"q\x000](](" + b"h\x00" * 100_000 + b"ee"
    ),
    "one long array, many times": (
        b"B"
        + struct.pack("<I", 2**20)
        + b"<" * 2**20
        + b"q\x000"
        + _dtype(_text("i1"))
        + b"q\x010"
        + b"](]("
        + _array(b"h\x01", b"h\x00") * 20_000
        + b"ee"
    ),
    "a number of a million bytes": (
        b"](](\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b"\x85ee"
    ),
    "a number of a million digits": b"](](L" + b"9" * 10**6 + b"L\n\x85ee",
    "a high index": b"]r\xff\xff\xff\x7f",
    "a million levels": b"](" * 500_000 + b"e" * 500_000,
}


def sparse(path, size=3 * 2**30):
    with path.open("wb") as file:
        file.truncate(size)


def mat(path, variables):
    """A MATLAB file of compressed variables, each (name, class, type, count of zero bytes)."""
    out = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    for name, size in variables:
        flags, shape = struct.pack("<IIII", 6, 8, 9, 0), struct.pack("<IIii", 5, 8, size // 88, 88)
        label = struct.pack("<II", 1, len(name)) + name.encode() + bytes(-len(name) % 8)
        head = flags + shape + label + struct.pack("<II", 2, size)
        packer = zlib.compressobj(9)
        data = packer.compress(struct.pack("<II", 14, len(head) + size) + head)
        block = bytes(2**20)
        for _ in range(size // 2**20):
            data += packer.compress(block)
        data += packer.compress(bytes(size % 2**20)) + packer.flush()
        out += struct.pack("<II", 15, len(data)) + data
    path.write_bytes(out)


def npz(path, **arrays):
    """An `.npz` file; arrays, or (header's shape, dtype, bytes of zeros)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if isinstance(value, np.ndarray):
                    np.lib.format.write_array(file, value)
                    continue
                shape, dtype, size = value
                header = {"descr": dtype, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                for _ in range(size // 2**20):
                    file.write(bytes(2**20))


def npy(path, shape, dtype="<f8", size=0, version=2):
    """A header, and nothing after it."""
    with path.open("wb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        file.write(bytes(size))


def _long_header(path):
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 3 * 2**30 - 20))
        file.truncate(3 * 2**30)


POINT = '<Point x="1" y="2" time="3"/>'
XML = {
    "nested strokes": "<W>" + f"<Stroke>{POINT}" * 50_000 + "</Stroke>" * 50_000 + "</W>",
    "deep elements": "<a>" * 300_000 + "</a>" * 300_000,
    "a long attribute": f'<W><Stroke><Point x="{"1" * 50_000_000}" y="2"/></Stroke></W>',
    "a long attribute of 15 MB": f'<W><Stroke><Point x="{"1" * 15_000_000}" y="2"/></Stroke></W>',
    "half a million points": f"<W><Stroke>{POINT * 500_000}</Stroke></W>",
    "a million attributes": "<W " + " ".join(f'a{i}=""' for i in range(500_000)) + "/>",
    "a long name": f"<W><{'x' * 15_000_000}/></W>",
    "entities": '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY c "&b;&b;">]><a>&c;</a>',
}
STROKE = ".PEN_DOWN\n" + "1 2\n" * 100_000 + ".PEN_UP\n"


def unipen(folder, includes):
    (folder / "include").mkdir()
    (folder / "include" / "b.dat").write_text(STROKE)
    (folder / "include" / "c").symlink_to("b.dat")
    path = folder / "a.dat"
    path.write_text(includes)
    return path, folder / "include"


def data_files(folder):
    """name -> what reads it: files for the readers of data."""
    from srnn_tf.data.corpora import unipen
    from srnn_tf.data.corpora.base import read_list
    from srnn_tf.data.formats import pianoroll, strokes
    from srnn_tf.data.prepared import info
    from srnn_tf.serving import inputs

    found = {}

    def add(name, file, make, read):
        place = folder / str(len(found))
        place.mkdir()
        if make is not None:
            make(place / file)
        found[name] = lambda: read(place / file)

    for name, opcodes in PICKLES.items():
        data = pickled(opcodes)
        add(f"pickle: {name}", "a.pickle", lambda p, d=data: p.write_bytes(d), pianoroll.read_parts)
    for name, text in XML.items():
        add(f"xml: {name}", "a.xml", lambda p, t=text: p.write_text(t), strokes.read_iam)
    for name, text in {
        "one file, a hundred thousand times": ".INCLUDE b.dat\n" * 100_000,
        "one file by many names": "".join(f".INCLUDE {'./' * i}b.dat\n" for i in range(500)),
        "a link to one file": ".INCLUDE b.dat\n.INCLUDE c\n",
        "a long line": ".PEN_DOWN\n" + "1" * 20_000_000 + " x\n.PEN_UP\n",
    }.items():
        add(f"unipen: {name}", "x", lambda p: p.mkdir(), lambda p, t=text: read_unipen_of(p, t))
    gib = 2**30 // 88 * 88
    for name, variables in {
        "a gigabyte of zeros": [("traindata", gib)],
        "many gigabytes that nobody wants": [(f"x{i}", gib) for i in range(4)],
        "one variable many times": [("traindata", 88 * 2**20)] * 20,
    }.items():
        add(f"mat: {name}", "a.mat", lambda p, v=variables: mat(p, v), pianoroll.read_parts)
    for name, rows in {
        "two gigabytes of zeros": ((2**30 // 3, 3), "<i2", 2**31),
        "a huge shape": ((2**50, 3), "<i2", 0),
        "no bytes a value": ((2**50,), "|V0", 0),
    }.items():
        add(
            f"npz: {name}",
            unipen.FILE,
            lambda p, r=rows: npz(p, strokes=r, lengths=r, split=r, source=r),
            lambda p: list(unipen.read_npz(p, "train")),
        )
        add(f"npz to score: {name}", "a.npz", lambda p, r=rows: npz(p, a=r), inputs._arrays)
    for name, make in {
        "a huge shape": lambda p: npy(p, (2**50, 3)),
        "no bytes a value": lambda p: npy(p, (2**50, 3), "|V0"),
        "a header of gigabytes": _long_header,
    }.items():
        add(f"npy: {name}", "a.npy", make, strokes.read_rows)
        add(f"npy to score: {name}", "a.npy", make, inputs._arrays)
    readers = {
        "a.pickle": pianoroll.read_parts,
        "a.mat": pianoroll.read_parts,
        "a.xml": strokes.read_iam,
        "a.dat": strokes.read_unipen,
        "a.npy": strokes.read_rows,
        "list.txt": read_list,
        "dataset_info.json": lambda p: info.read(p.parent),
    }
    for file, read in readers.items():
        for kind, make in ODD.items():
            add(f"{file}: {kind}", file, make, read)
    return found


def read_unipen_of(folder, text):
    from srnn_tf.data.formats import strokes

    return strokes.read_unipen(*unipen(folder, text))


ODD = {
    "a folder": lambda p: p.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda p: p.symlink_to("/dev/zero"),
    "three gigabytes, sparse": sparse,
    "a link to itself": lambda p: p.symlink_to(p.name),
}
JSONS = {
    **ODD,
    "deep": lambda p: p.write_text("[" * 10**6),
    "deep, whole": lambda p: p.write_text('{"a":' * 900 + "1" + "}" * 900),
    "a number too large": lambda p: p.write_text('{"format": 1e999}'),
    "NaN": lambda p: p.write_text('{"format": NaN}'),
    "a million digits": lambda p: p.write_text('{"format": ' + "1" * 10**6 + "}"),
    "15 MB of lists": lambda p: p.write_text("[" + "[]," * 5_000_000 + "[]]"),
    "a key twice": lambda p: p.write_text('{"format": 1, "format": 1}'),
    "no text": lambda p: p.write_bytes(b"\xff\xfe" * 50),
}


def zoo_files(root, name, run):
    """name -> what reads it: a published root with one file of a model replaced.

    Args:
        root: makes a fresh copy of a published root.
        name: of its model.
        run: makes a fresh copy of a run's folder.
    """
    from srnn_tf import zoo
    from srnn_tf.experiments import runs
    from srnn_tf.zoo import artifacts, store

    found = {}

    def replaced(path, make):
        path.unlink()
        make(path)

    def add(title, file, make, read=None):
        def call():
            place = root()
            replaced(place / name / "1" / file, make)
            if file.endswith(artifacts.CARD):
                (place / name / "1" / "assets.extra" / artifacts.CARD_SHA256).unlink()
            (read or (lambda r: zoo.load(name, root=r)))(place)

        found[title] = call

    def unverified(place):
        return zoo.read(place / name / "1")

    for kind, make in JSONS.items():
        for file in ("card.json", "config.json", "card.sha256"):
            read = unverified if file == "config.json" else None
            if file == "card.sha256" and make not in ODD.values():
                continue
            add(f"{file}: {kind}", f"assets.extra/{file}", make, read)
        found[f"run.json: {kind}"] = lambda m=make: _run_with(run(), "run.json", m, runs.Run.open)
        found[f"published.json: {kind}"] = lambda m=make: _published(root(), m, store)
        found[f"alias: {kind}"] = lambda m=make: _alias(root(), m)
    for kind, make in ODD.items():
        for file in ("variables.index", "variables.data-00000-of-00001"):
            if (file, kind) != ("variables.data-00000-of-00001", "three gigabytes, sparse"):
                add(f"{file}: {kind}", f"variables/{file}", make, unverified)
    for what in SIZES:
        found[f"config: {what}"] = lambda w=what: resized(root() / name / "1", w)
        found[f".keras: {what}"] = lambda w=what: resized_keras(root() / name / "1", w)
    for what in (
        "a config of gigabytes",
        "weights of gigabytes",
        "a huge array",
        "a virtual array",
    ):
        found[f".keras: {what}"] = lambda w=what: keras_bomb(root() / name / "1", w)
    found["checkpoint: a huge array"] = lambda: _run_with(
        run(), "best.weights.h5", _huge_hdf5, lambda f: runs.Run.open(f).best_model()
    )
    return found


BOMBS = ("a config of gigabytes", "weights of gigabytes", "a huge array", "a virtual array")
MIXTURE = {"class": "gaussian_mixture", "num_components": 10**9}
DEEP_MLP = {"class": "masked_mlp", "event_size": 88, "num_layers": 10**9}
# path in a model's config: what it becomes.
SIZES = {
    "units": ("structure", "units", 10**9),
    "units, 20,000": ("structure", "units", 20_000),
    "latent_size": ("structure", "latent_size", 10**9),
    "embedding_size": ("structure", "embedding_size", 10**12),
    "hidden_size": ("structure", "hidden_size", 10**9),
    "num_layers": ("structure", "num_layers", 10**9),
    "event_size of the emission": ("emission", "event_size", 10**9),
    "event_size": ("event_size", 10**9),
    "event_size, no integer": ("event_size", 10**400),
    "window": ("window", 10**30),
    "seed": ("seed", 10**30),
    "num_components": (
        "emission",
        "likelihood",
        {"class": "gaussian_mixture", "num_components": 10**9},
    ),
    "an MLP a value": ("emission", {"class": "masked_mlp", "event_size": 10**4, "units": 10**4}),
    "layers of an MLP": (
        "emission",
        {"class": "masked_mlp", "event_size": 88, "num_layers": 10**9},
    ),
    "delta's split": ("emission", {"class": "delta_split", "event_size": 10**9}),
    "a low LSTM": ("emission", {"class": "autoregressive_rnn", "event_size": 88, "units": 10**9}),
}


def _changed(model, what):
    *path, value = SIZES[what]
    inner = model
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return model


def resized(folder, what):
    from srnn_tf import zoo

    path = folder / "assets.extra" / "config.json"
    config = json.loads(path.read_text())
    _changed(config["model"], what)
    path.write_text(json.dumps(config))
    zoo.read(folder)


def _saved(folder):
    from srnn_tf import zoo

    path = folder / "model.keras"
    zoo.read(folder).save(path)
    return path


def rewritten(path, change):
    """A `.keras` file with some members changed: name, content -> content."""
    with zipfile.ZipFile(path) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def resized_keras(folder, what):
    from srnn_tf import zoo

    path = _saved(folder)

    def change(name, content):
        if name != "config.json":
            return content
        config = json.loads(content)
        _changed(config["config"], what)
        return json.dumps(config)

    rewritten(path, change)
    zoo.read(path)


def keras_bomb(folder, what):
    from srnn_tf import zoo

    path = _saved(folder)
    if what == "a config of gigabytes":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("metadata.json", "{}")
            with archive.open("config.json", "w", force_zip64=True) as file:
                for _ in range(3 * 2**10):
                    file.write(b" " * 2**20)
    elif what == "weights of gigabytes":
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("model.weights.h5", "w", force_zip64=True) as file:
                for _ in range(2 * 2**10):
                    file.write(bytes(2**20))
    else:
        hdf5 = folder / "a.h5"
        _huge_hdf5(hdf5, virtual=what == "a virtual array")
        content = hdf5.read_bytes()
        rewritten(path, lambda name, old: content if name.endswith(".h5") else old)
    zoo.read(path)


def _huge_hdf5(path, virtual=False):
    import h5py

    with h5py.File(path, "w") as file:
        if virtual:
            layout = h5py.VirtualLayout((10,), "f4")
            layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
            file.create_virtual_dataset("layers/0", layout)
        else:
            file.create_dataset("layers/0", (10**6, 10**6), "f4", chunks=(1000, 1000))


def _run_with(folder, file, make, read):
    path = folder / file
    path.unlink()
    make(path)
    read(str(folder))


def _published(root, make, store):
    path = root / "published.json"
    make(path)
    store._PUBLISHED = path
    store.published()


def _alias(root, make):
    from srnn_tf import zoo

    (root / "f_rnn_muse").mkdir()
    make(root / "f_rnn_muse" / "card.json")
    zoo.load("f_rnn_muse", root=root)


def costs(files):
    """What each of some files costs, printed."""
    print(f"{'file':<60} {'s':>5} {'MiB':>6}  error")
    for name, call in files.items():
        cost = limited(call)
        print(f"{name:<60} {cost.seconds:5.1f} {cost.mib:6.0f}  {cost.error[:150]}", flush=True)
        yield name, cost


def bad(name, cost):
    """Whether a cost is more than a reader may have, or its error is none of the documented."""
    # Half a million points in 14 MB are a file as good as any.
    documented = "half a million points" in name or cost.error.startswith(
        ("ValueError: ", "FileNotFoundError: ", "OSError: ")
    )
    return not documented or cost.seconds > SECONDS or cost.mib > MIB


def _published_files(folder):
    """`zoo_files` of a published model of the checkout, and of a run of its recipe."""
    from srnn_tf.experiments import runs
    from srnn_tf.zoo import store

    name = "f_rnn_jsb"
    runs.Run.create(str(folder / "run"), name, 10, 0, [1, 1, 1])
    (folder / "run" / "best.weights.h5").touch()

    def root():
        place = Path(tempfile.mkdtemp(dir=folder))
        shutil.copytree(Path(store.__file__).parents[2] / "saved_models" / name, place / name)
        return place

    def run():
        return shutil.copytree(folder / "run", Path(tempfile.mkdtemp(dir=folder)) / "run")

    return zoo_files(root, name, run)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        everything = {**data_files(Path(place)), **_published_files(Path(place))}
        chosen = {n: c for n, c in everything.items() if n.startswith(tuple(sys.argv[1:] or [""]))}
        sys.exit(any([bad(*both) for both in costs(chosen)]))
