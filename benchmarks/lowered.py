"""Hours of training of the paper's Table 7 on a device that JAX sees and TensorFlow does not.

    python -m benchmarks.lowered write DIR [--models F-RNN,...]  # with TensorFlow, on any machine
    python benchmarks/lowered.py run DIR [--seconds 3]           # with JAX 0.11, on the device

The first writes the compiled update of each model of `benchmarks.table7`, batch of the paper, as
XLA gets it: forward, backward, clipping, Adam. The second, which needs this file and the folder
alone, compiles and times it on made-up numbers. It calls JAX's private interface to XLA.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

LEAST, WARM = 8, 3  # updates that are timed, and those before them


def write(name: str, folder: Path, scale: int = 1) -> None:
    """Write `NAME.stablehlo` and `NAME.json`: the program, and what its arguments are."""
    import tensorflow as tf

    from benchmarks import cases, contenders, table7

    case, (rows, frames), hours = table7.MODELS[name]
    case = cases.get(case, batch=rows, frames=frames, scale=scale)
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
        "alias": alias,
        # Optimizer slots and counters start at zero.
        "weights": [id(v) in weights for v in variables],
        "variables": [[list(v.shape), str(np.dtype(v.dtype))] for v in variables],
    }
    (folder / f"{name}.json").write_text(json.dumps(manifest, indent=1))


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
    times, begun = [], time.perf_counter()
    while len(times) < LEAST + WARM or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        found = loaded.execute_sharded(batch + state).disassemble_into_single_device_arrays()
        state = [found[alias[i]][0] if i in alias else old for i, old in enumerate(state)]
        float(found[0][0])
        times.append(time.perf_counter() - before)
    return times[WARM:]


def run(folder: Path, seconds: float) -> None:
    """Print the table of all programs in a folder."""
    import jax

    programs = sorted(folder.glob("*.stablehlo"))
    if not programs:
        raise SystemExit(f"error: {folder} holds no program: `python -m benchmarks.lowered write`")
    print(f"Device: {jax.devices()[0].device_kind}; JAX {jax.__version__}, float32 as XLA has it\n")
    print("| model | batch | s/update | hours | hours, GTX 1080Ti (paper) | share |")
    print("|---|---|---|---|---|---|", flush=True)
    for path in programs:
        held = json.loads(path.with_suffix(".json").read_text())
        times = seconds_per_update(portable(path.read_bytes()), held, seconds)
        median = statistics.median(times)
        hours, shape = median * held["updates"] / 3600, " x ".join(map(str, held["shape"]))
        cells = [path.stem, shape, f"{median:.5f}", f"{hours:.3f}", f"{held['hours']:.2f}"]
        print(f"| {' | '.join(cells)} | {hours / held['hours']:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("job", choices=("write", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", help="of `write`; all by default")
    parser.add_argument("--seconds", type=float, default=3.0, help="of `run`, for each model")
    args = parser.parse_args()
    if args.job == "run":
        run(args.folder, args.seconds)
        return
    from benchmarks import table7

    names = args.models.split(",") if args.models else list(table7.MODELS)
    if strange := sorted(set(names) - set(table7.MODELS)):
        raise SystemExit(f"error: --models={strange[0]}; accepted are {', '.join(table7.MODELS)}")
    for name in names:
        write(name, args.folder)


if __name__ == "__main__":
    main()
