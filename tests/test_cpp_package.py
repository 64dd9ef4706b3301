"""The core from C++: built without Python, installed, found by another project, and used."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

import roiops

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def built(source: Path, build: Path, *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", source, "-B", build, *generator, *options)
    run("cmake", "--build", build, "--parallel", str(len(os.sched_getaffinity(0))))


def test_another_project_finds_and_uses_the_core(tmp_path: Path) -> None:
    core, prefix, example = tmp_path / "core", tmp_path / "installed", tmp_path / "example"
    built(ROOT, core, "-DROIOPS_PYTHON=OFF")
    run("cmake", "--install", core, "--prefix", prefix)
    headers = sorted((prefix / "include" / "roiops").iterdir())
    assert {"roi_align.h", "nms.h", "array.h"} <= {path.name for path in headers}
    for header in headers:
        # Each by itself, against nothing but what was installed.
        source = tmp_path / "header.cpp"
        source.write_text(f'#include "roiops/{header.name}"\nint main() {{}}\n')
        run("g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Werror", f"-I{prefix}/include", source)
    built(ROOT / "cpp" / "example", example, f"-DCMAKE_PREFIX_PATH={prefix}")
    lines = run(example / "example").splitlines()

    boxes = np.array([[4, 4, 24, 24], [5, 5, 25, 25], [30, 10, 38, 20]], np.float32)
    keep = roiops.nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.5)
    features = np.arange(100, dtype=np.float32).reshape(1, 1, 10, 10)
    pooled = roiops.roi_align(features, [boxes[keep]], 2, 0.25, aligned=True)
    for line, number, bins in zip(lines, keep, pooled, strict=False):
        found, *values = (float(x) for x in re.findall(r"[\d.]+", line))
        assert found == number
        np.testing.assert_allclose(values, bins.ravel(), rtol=1e-5)
    assert len(lines) == len(keep) + 1
    assert lines[-1].startswith("roi_align: boxes[0, 0] (batch index) must be")
