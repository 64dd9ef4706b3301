"""Is roiops right on a GPU, and how fast? In stages of minutes each, on a machine that may have no
network: Python with torch, torchvision, CuPy, pybind11, pytest, hypothesis, ml-dtypes, click, rich
(the last stage: what the detector needs too), and nvcc, cmake and ninja on the PATH.

    python tools/gpu_check.py --out RESULTS            all stages
    python tools/gpu_check.py --out RESULTS build smoke suite
    python tools/gpu_check.py --out RESULTS --rehearse without a GPU: the emulator stands in

RESULTS gets STAGE.log, what the stages leave, and summary.json: device, driver, commit, and of each
stage what it returned and how long it took. A stage that fails does not stop the others.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import click

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600  # seconds of a stage
SANITIZERS = ("memcheck", "initcheck", "racecheck", "synccheck")
COUNTERS = ("gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum",
            "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum",
            "l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum")  # fmt: skip
ONCE = "tests/gpu/test_once.py"

CONFIGURATION = """import roiops
print(roiops.show_config())
assert "{wanted}" in roiops.backends()"""

Command = list[str]


def pytest(*arguments: str) -> Command:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def build(rehearsed: bool) -> list[Command]:
    """Both modules, beside the sources."""
    folder = ROOT / "build" / "gpu"
    architecture = "90" if rehearsed else "native"
    pybind11 = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    )
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DROIOPS_CUDA=ON",
                 f"-DCMAKE_CUDA_ARCHITECTURES={architecture}",
                 f"-DPython_EXECUTABLE={sys.executable}",
                 f"-Dpybind11_DIR={pybind11.stdout.strip()}"]  # fmt: skip
    return [
        configure,
        ["cmake", "--build", str(folder)],
        ["cmake", "--install", str(folder), "--prefix", str(ROOT)],
        [sys.executable, "-c", CONFIGURATION.format(wanted="cpu" if rehearsed else "cuda")],
    ]


def smoke(rehearsed: bool) -> list[Command]:
    """Streams, graphs, determinism, torch and CuPy in one process."""
    emulated = ["tests/ops/test_gpu.py", "tests/ops/test_cupy.py"] if rehearsed else []
    return [pytest(*emulated, "tests/gpu")]


def suite(rehearsed: bool) -> list[Command]:
    """The operators' tests on the backend, in as many processes as there are cores if xdist is
    there."""
    # Each process has a context, and memory, of its own.
    several = [] if rehearsed else ["-n", str(min(8, len(os.sched_getaffinity(0))))]
    if subprocess.run([sys.executable, "-c", "import xdist"], capture_output=True).returncode:
        several = []
    if rehearsed:
        return [pytest("-k", "emulated and not hooks", "tests/ops")]
    return [pytest(*several, "--continue-on-collection-errors", "-k", "cuda", "tests/ops")]


def sanitizer(tool: str, rehearsed: bool) -> list[Command]:
    # torch's allocator would hide what lies beyond a tensor's end.
    run = ["env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1"]
    if not rehearsed:
        run += ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--target-processes",
                "all"]  # fmt: skip
    return [[*run, *pytest(ONCE)]]


def counters(rehearsed: bool) -> list[Command]:
    """Time, DRAM traffic and sectors of every kernel."""
    profile = ["ncu", "--clock-control", "none", "--csv", "--metrics", ",".join(COUNTERS)]
    return [[*([] if rehearsed else profile), *pytest(ONCE)]]


def bench(out: Path, rehearsed: bool) -> list[Command]:
    """Beside torchvision's operators, whose results are compared too."""
    run = [sys.executable, "-m", "benchmarks", "run", "--seconds", "0.3"]
    if rehearsed:
        return [[*run, "--json", str(out / "cpu.json"), "smallest"]]
    of = ["--device", "cuda"]
    return [
        [*run, *of, "--json", str(out / "gpu.json")],
        [*run, *of, "--json", str(out / "gpu-float16.json"), "--dtype", "float16", "--layout",
         "channels_last", "roi_align", "head"],
    ]  # fmt: skip


def train(out: Path, rehearsed: bool) -> list[Command]:
    """Some steps of the detector."""
    device = "cpu" if rehearsed else "cuda"
    return [[sys.executable, "-m", "detector", "train", "--config", "nuclei_demo",
             "--data", "nuclei", "--device", device,
             "--max-iters", "3" if rehearsed else "100", "--out", str(out / "train")]]  # fmt: skip


STAGES = ("build", "smoke", "suite", "bench", *SANITIZERS, "counters", "train")


def commands(stage: str, out: Path, rehearsed: bool) -> list[Command]:
    if stage in SANITIZERS:
        return sanitizer(stage, rehearsed)
    if stage in ("bench", "train"):
        return {"bench": bench, "train": train}[stage](out, rehearsed)
    return {"build": build, "smoke": smoke, "suite": suite, "counters": counters}[stage](rehearsed)


def run(stage: str, out: Path, rehearsed: bool) -> dict[str, object]:
    """One stage: its commands one after the other, until one fails."""
    start, returned = time.monotonic(), 0
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    if not rehearsed:
        environment["ROIOPS_WANT_GPU"] = "1"
    with (out / f"{stage}.log").open("w") as log:
        for command in commands(stage, out, rehearsed):
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            left = LIMIT - (time.monotonic() - start)
            returned = returned_by(command, environment, log, left)
            if returned:
                break
    return {"returned": returned, "seconds": round(time.monotonic() - start, 1)}


def returned_by(command: Command, environment: dict[str, str], log: IO[str], limit: float) -> int:
    """Its exit status, 127 if there is no such program; 124 if it was stopped, with all that it had
    started: a test under a profiler would go on and keep the GPU."""
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    except FileNotFoundError as error:
        log.write(f"{error}\n")
        return 127
    try:
        return process.wait(max(limit, 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.write(f"not done after {LIMIT} s\n")
        return 124


def machine() -> dict[str, str]:
    """What the results are of."""

    def said_by(*command: str) -> str:
        if not shutil.which(command[0]):
            return "unknown"
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return {
        "device": said_by(*query),
        "nvcc": said_by("nvcc", "--version").splitlines()[-1],
        "commit": said_by("git", "rev-parse", "--short", "HEAD"),
        "date": time.strftime("%Y-%m-%d"),
    }


@click.command(help=__doc__)
@click.argument("stages", nargs=-1, type=click.Choice(STAGES))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for everything the stages leave.")  # fmt: skip
@click.option("--rehearse", is_flag=True, help="Without a GPU: the emulator stands in.")
def main(stages: tuple[str, ...], out: Path, rehearse: bool) -> None:
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, object] = {**machine(), "rehearsed": rehearse}
    failed = False
    for stage in stages or STAGES:
        result = run(stage, out, rehearse)
        summary[stage] = result
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        failed |= bool(result["returned"])
        outcome = f"FAILED, see {out / stage}.log" if result["returned"] else "passed"
        click.echo(f"{stage}: {outcome}, {result['seconds']} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
