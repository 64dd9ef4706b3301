"""One build, several instruction sets: equal decisions, values equal to rounding."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import roiops
from roiops.testing import CASES

HERE = Path(__file__).parent
PROGRAM = """
import sys
import numpy as np
from backends import BACKENDS
from test_every_operator import made, run
from roiops.testing import CASES

backend = BACKENDS["cpu"]()
assert sys.argv[1] in backend.ops.show_config()
results = {
    f"{case.name}/{i}": result
    for case in CASES
    for i, result in enumerate(run(backend, case, made(case)))
}
halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 64, 1, 1024)
row = np.array([[0, 0, 0, 1023, 0]], np.float32)
results["every half"] = backend("roi_pool", halves, row, (1, 1024)).view(np.uint16)
np.savez(sys.argv[2], **results)
"""


PACKAGE = Path(roiops.__file__).parent
CPUINFO = Path("/proc/cpuinfo")
FLAGS = set(CPUINFO.read_text().split()) if CPUINFO.exists() else set()


def results_with(isa: str, folder: Path, package: Path = PACKAGE) -> dict[str, np.ndarray]:
    """The results of every operator, computed by a fresh process that uses that set."""
    file = folder / f"{isa}.npz"
    paths = [str(HERE), str(HERE.parent), str(package.parent)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, isa, str(file)],
        env=os.environ | {"ROIOPS_ISA": isa, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert not done.returncode, done.stderr
    with np.load(file) as results:
        return dict(results)


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    decides = {case.name: case.decides for case in CASES}
    for name, values in got.items():
        if decides.get(name.rpartition("/")[0], True):
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
        else:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(values, expected[name], atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize(("isa", "flag"), [("avx2", "avx2"), ("avx512", "avx512dq")])
def test_results_are_those_of_the_baseline(isa: str, flag: str, tmp_path: Path) -> None:
    if flag not in FLAGS:
        pytest.skip(f"this machine has no {isa}")
    assert_same(results_with(isa, tmp_path), results_with("baseline", tmp_path))


def test_the_code_for_avx512_where_there_is_none(tmp_path: Path) -> None:
    if "avx512dq" in FLAGS or "avx2" not in FLAGS:
        pytest.skip("this machine has AVX-512 itself, or not even AVX2")
    root = HERE.parents[1]
    if PACKAGE.parent != root:
        pytest.skip("an installed wheel: the core's sources are not beside it")
    import pybind11

    package = tmp_path / "roiops"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("_cpu*.so", "__pycache__"))
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
        ["-S", root, "-B", tmp_path / "build", *generator, "-DROIOPS_AVX512_BY_AVX2=ON",
         f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"],
        ["--build", tmp_path / "build", "--parallel", str(len(os.sched_getaffinity(0)))],
        ["--install", tmp_path / "build", "--prefix", tmp_path],
    ):  # fmt: skip
        done = subprocess.run(["cmake", *command], capture_output=True, text=True, timeout=1200)
        assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert_same(results_with("avx512", tmp_path, package), results_with("baseline", tmp_path))
