"""nvcc compiles every kernel for the oldest and the newest usual GPU; no register is spilled."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not shutil.which("nvcc"), reason="without nvcc")
@pytest.mark.parametrize("source", sorted((ROOT / "cuda").glob("*.cu")), ids=lambda path: path.name)
def test_nvcc_compiles_without_a_warning_or_a_spill(source: Path, tmp_path: Path) -> None:
    architectures = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in (80, 90)]
    command = ["nvcc", "-std=c++17", *architectures, "--threads=2", "--fmad=false", "-Werror",
               "all-warnings", "-Xptxas=-v", f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'cpp'}",
               "-c", str(source), "-o", str(tmp_path / "kernels.o")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    spilled = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert spilled, "nvcc no longer says what it spills"
    assert set(spilled) == {("0", "0")}, done.stderr
