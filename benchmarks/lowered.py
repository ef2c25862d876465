"""Hours of training of the paper's Table 7 on a device that JAX or TensorFlow sees.

    python -m benchmarks.lowered measure DIR [--models F-RNN,...] [--sets default,...]
    python -m benchmarks.lowered write DIR [--models F-RNN,...]  # with TensorFlow, on any machine
    python benchmarks/lowered.py run DIR [--seconds 3]           # with JAX, on the device
    python benchmarks/lowered.py sweep DIR [--sets default,...]  # the same under sets of flags

`write` writes the compiled update of each model of `benchmarks.table7`, batch of the paper, as
XLA gets it: forward, backward, clipping, Adam. `run`, which needs this file and the folder alone,
compiles and times it on made-up numbers. It calls JAX's private interface to XLA. `sweep` calls
`run` under each set of XLA's flags, in a process of its own; flags that this XLA does not know, on
which a process would end, are named and left out. `measure` is all of it: it writes what is not
there yet, then sweeps, with JAX where it is installed (`--runner`), else with TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_BUFFERS = "--xla_gpu_enable_command_buffer="
_COMMANDS = f"{_BUFFERS}FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN"
_LOOPS = f"{_COMMANDS},CONDITIONAL,WHILE --xla_gpu_graph_min_graph_size=1"
_UNROLLED = "--xla_gpu_enable_while_loop_unrolling=WHILE_LOOP_UNROLLING_AUTO_UNROLL"
_DOUBLE = "--xla_gpu_enable_while_loop_double_buffering=true"
_HIDING = "--xla_gpu_enable_latency_hiding_scheduler=true"
# Sets of XLA's flags. Command buffers are CUDA graphs: what they hold is launched at once.
SETS = {
    "default": "",
    "no_buffers": _BUFFERS,
    "buffers": _COMMANDS,
    "loop_buffers": _LOOPS,
    "unrolled_loop_buffers": f"{_LOOPS} --xla_gpu_command_buffer_unroll_loops=true",
    "double_buffering": _DOUBLE,
    "unrolling": _UNROLLED,
    "latency_hiding": _HIDING,
    "loop_buffers_double_buffering": f"{_LOOPS} {_DOUBLE}",
    "loop_buffers_unrolling": f"{_LOOPS} {_UNROLLED}",
    "all": f"{_LOOPS} --xla_gpu_command_buffer_unroll_loops=true {_DOUBLE} {_HIDING}",
}
RUNNERS = ("jax", "tensorflow")
LEAST, WARM = 8, 3  # updates that are timed, and those before them


def write(name: str, folder: Path, scale: int = 1) -> None:
    """Write `NAME.stablehlo` and `NAME.json`: the program, and what its arguments are."""
    import tensorflow as tf

    from benchmarks import contenders, flops, table7

    hours = table7.MODELS[name][-1]
    case = _case(name, scale)
    model = contenders.ours(case)
    model(tf.zeros([1, 2, case.shape[-1]]))
    model.optimizer.build(model.trainable_variables)

    def update(frames, previous):
        return model.train_step({"frames": frames, "previous": previous})["loss"]

    compiled, spec = (
        tf.function(update, jit_compile=True, autograph=False),
        tf.TensorSpec(case.shape),
    )
    captured = compiled.get_concrete_function(spec, spec).captured_inputs
    lowered = compiled.experimental_get_compiler_ir(spec, spec)
    held = (model.variables, model.optimizer.variables, model.metrics_variables)
    by_handle = {id(v.value.handle): v for group in held for v in group}
    variables = [by_handle[id(handle)] for handle in captured]
    weights = {id(v) for v in model.trainable_variables}
    # Which output holds the new value of which argument: "{3}: (4, {}, may-alias)", and so on.
    header = lowered(stage="hlo").split("\n", 1)[0]
    alias = {int(p): int(o) for o, p in re.findall(r"\{(\d+)\}: \((\d+),", header)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.stablehlo").write_bytes(lowered(stage="stablehlo_serialized"))
    manifest = {
        "shape": case.shape,
        "hours": hours,
        "updates": table7.UPDATES,
        "loop_steps": flops.loop_steps(case),
        "scale": scale,
        "alias": alias,
        # Optimizer slots and counters start at zero.
        "weights": [id(v) in weights for v in variables],
        "variables": [[list(v.shape), str(np.dtype(v.dtype))] for v in variables],
    }
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1))


def _case(name: str, scale: int):
    from benchmarks import cases, table7

    case, (rows, frames), _ = table7.MODELS[name]
    return cases.get(case, batch=rows, frames=frames, scale=scale)


def portable(program: bytes) -> bytes:
    """The program without copies that TensorFlow adds to results, which plugins of GPUs refuse."""
    import jaxlib.mlir.ir as ir
    from jax._src.interpreters import mlir
    from jaxlib.mlir.dialects import stablehlo

    def copies(operation):
        for region in operation.regions:
            for block in region.blocks:
                for inner in block.operations:
                    yield from copies(inner.operation)
                    if inner.operation.name == "mhlo.copy":
                        yield inner.operation

    with mlir.make_ir_context(), ir.Location.unknown():
        module = ir.Module.parse(program)
        found = list(copies(module.operation))
        for copy in found:
            copy.results[0].replace_all_uses_with(copy.operands[0])
        for copy in found:
            copy.erase()
        return stablehlo.serialize_portable_artifact(module, stablehlo.get_minimum_version())


def seconds_per_update(program: bytes, manifest: dict[str, Any], seconds: float) -> list[float]:
    """Times of single updates on the first device, each awaited."""
    import jax

    jax.config.update("jax_enable_x64", True)  # the counters are int64
    from jax._src.lib import _jax, xla_client

    device, rng = jax.devices()[0], np.random.default_rng(0)
    devices = _jax.DeviceList((device,))
    loaded = device.client.compile_and_load(program, devices, xla_client.CompileOptions())

    def made_up(spec, is_weight):
        shape, dtype = spec
        value = rng.standard_normal(shape) * 0.03 if is_weight else np.zeros(shape)
        return jax.device_put(value.astype(dtype), device)

    pairs = zip(manifest["variables"], manifest["weights"], strict=True)
    state = [made_up(*pair) for pair in pairs]
    batch = [jax.device_put(rng.standard_normal(manifest["shape"], np.float32), device)] * 2
    alias = {int(p) - len(batch): o for p, o in manifest["alias"].items()}

    def update():
        nonlocal state
        found = loaded.execute_sharded(batch + state).disassemble_into_single_device_arrays()
        state = [found[alias[i]][0] if i in alias else old for i, old in enumerate(state)]
        return float(found[0][0])

    return timed(update, seconds)


def timed(update, seconds: float) -> list[float]:
    """Times of single updates, each awaited, for so many seconds."""
    times, begun = [], time.perf_counter()
    while len(times) < LEAST + WARM or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        update()
        times.append(time.perf_counter() - before)
    return times[WARM:]


def seconds_in_tensorflow(name: str, scale: int, seconds: float) -> list[float]:
    """The same with TensorFlow, from the package instead of a written program."""
    from benchmarks import contenders

    return timed(contenders.training("ours", _case(name, scale)), seconds)


def device(runner: str) -> str:
    """What runs the programs."""
    if runner == "jax":
        import jax

        return f"{jax.devices()[0].device_kind}; JAX {jax.__version__}"
    import tensorflow as tf

    from benchmarks import table7

    return f"{table7.gpu() or 'CPU'}; TensorFlow {tf.__version__}"


HEADER = "| flags | model | batch | s/update | us per step of loop | hours | paper | share |"


def row(flags: str, name: str, held: dict[str, Any], median: float) -> str:
    """A line of the table: what an update takes, and 40,000 of them beside the paper's hours."""
    hours, shape = median * held["updates"] / 3600, " x ".join(map(str, held["shape"]))
    steps = f"{median / held['loop_steps'] * 1e6:.1f}" if "loop_steps" in held else "-"
    cells = [flags, name, shape, f"{median:.5f}", steps, f"{hours:.3f}", f"{held['hours']:.2f}"]
    return f"| {' | '.join(cells)} | {hours / held['hours']:.3f} |"


def programs(folder: Path, names: list[str] | None = None) -> list[Path]:
    """The programs of a folder, or those of `names`."""
    found = sorted(folder.glob("*.stablehlo"))
    found = [path for path in found if names is None or path.stem in names]
    if not found:
        raise SystemExit(f"error: {folder} holds no program: `python -m benchmarks.lowered write`")
    return found


def run(folder: Path, seconds: float, runner: str, names: list[str] | None, label: str) -> None:
    """Print the table of all programs in a folder, under the flags of this process."""
    paths = programs(folder, names)
    print(f"Device: {device(runner)}, float32 as XLA has it\n\n{HEADER}")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for path in paths:
        held = json.loads(path.with_suffix(".json").read_text())
        if runner == "jax":
            times = seconds_per_update(portable(path.read_bytes()), held, seconds)
        else:
            times = seconds_in_tensorflow(path.stem, held["scale"], seconds)
        print(row(label, path.stem, held, statistics.median(times)), flush=True)


def _child(flags: list[str], *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """This file's command in a process with these flags beside those of the environment."""
    file = Path(__file__).resolve()
    before = {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "PYTHONPATH")}
    environment = {
        **os.environ,
        "XLA_FLAGS": " ".join([before["XLA_FLAGS"], *flags]).strip(),
        # TensorFlow's runner reads the cases of the benchmarks.
        "PYTHONPATH": os.pathsep.join([str(file.parents[1]), before["PYTHONPATH"]]).strip(":"),
        **variables,
    }
    command = [sys.executable, str(file), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _last_words(done: subprocess.CompletedProcess) -> str:
    lines = done.stderr.strip().splitlines()
    return f"ended with code {done.returncode} {lines[-1] if lines else ''}"


def write_missing(folder: Path, names: list[str], scale: int) -> None:
    """Write the programs that are not there, in a process that leaves the GPU to others."""
    missing = [name for name in names if not (folder / f"{name}.json").exists()]
    if not missing:
        return
    words = ["write", str(folder), "--models", ",".join(missing), "--scale", str(scale)]
    done = _child([], *words, CUDA_VISIBLE_DEVICES="")
    if done.returncode:
        raise SystemExit(f"error: writing {', '.join(missing)} {_last_words(done)}")


def unknown(flags: list[str], runner: str) -> list[str]:
    """Those of the flags on which a process of this XLA ends."""
    return [flag for flag in flags if _child([flag], "probe", "--runner", runner).returncode]


def probe(runner: str) -> None:
    """Have XLA read its flags: it ends the process on one that it does not know."""
    if runner == "jax":
        import jax

        jax.jit(lambda x: x + 1)(0.0).block_until_ready()
        return
    import tensorflow as tf

    tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(0.0))


def sweep(folder: Path, sets: list[str], options: list[str], runner: str) -> None:
    """Print one table of all programs under all sets of flags, each in a process of its own."""
    title, fastest = None, {}
    for label in sets:
        flags = SETS[label].split()
        words = ["run", str(folder), "--runner", runner, "--label", label, *options]
        done = _child(flags, *words)
        if done.returncode and (strange := unknown(flags, runner)):
            print(
                f"{label}: without {', '.join(strange)}, which this XLA does not know", flush=True
            )
            flags = [flag for flag in flags if flag not in strange]
            if not flags:
                continue
            done = _child(flags, *words)
        lines = done.stdout.splitlines()
        if title is None and len(lines) >= 4:
            title = lines[:4]
            print("\n".join(title), flush=True)
        for line in lines[4:]:
            print(line, flush=True)
            _, _, name, _, seconds, *_ = (cell.strip() for cell in line.split("|"))
            fastest[name] = min(fastest.get(name, (float("inf"), "")), (float(seconds), label))
        if done.returncode:
            print(f"{label}: {_last_words(done)}", flush=True)
    for name, (_, label) in fastest.items():
        print(f"\n{name} is fastest with {label}: XLA_FLAGS='{SETS[label]}'")
    if not fastest:
        raise SystemExit("error: nothing could be measured")


def chosen(option: str, names: str | None, known) -> list[str]:
    """The names of an option; all by default."""
    found = names.split(",") if names else list(known)
    if strange := sorted(set(found) - set(known)):
        raise SystemExit(f"error: --{option}={strange[0]}; accepted are {', '.join(known)}")
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("job", choices=("measure", "write", "run", "sweep", "probe"))
    parser.add_argument("folder", type=Path, nargs="?", help="of the programs")
    parser.add_argument("--models", help="all by default")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each model")
    parser.add_argument("--sets", help=f"of flags: {', '.join(SETS)}; all by default")
    parser.add_argument("--runner", choices=RUNNERS, help="JAX by default, where it is installed")
    parser.add_argument("--label", default="-", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    runner = args.runner or RUNNERS[importlib.util.find_spec("jax") is None]
    if args.job == "probe":
        probe(runner)
        return
    if args.folder is None:
        parser.error(f"{args.job} needs the folder of the programs")
    if args.job == "run":
        run(args.folder, args.seconds, runner, args.models and args.models.split(","), args.label)
        return
    sets = chosen("sets", args.sets, SETS)
    if args.job in ("measure", "write"):
        from benchmarks import table7

        names = chosen("models", args.models, table7.MODELS)
        if args.job == "measure":
            write_missing(args.folder, names, args.scale)
        else:
            for name in names:
                write(name, args.folder, args.scale)
    if args.job in ("measure", "sweep"):
        models = ["--models", args.models] if args.models else []
        sweep(args.folder, sets, ["--seconds", str(args.seconds), *models], runner)


if __name__ == "__main__":
    main()
