"""One build, several instruction sets: equal decisions, values equal to rounding."""

import os
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
np.savez(sys.argv[2], **results)
"""


def results_with(isa: str, folder: Path) -> dict[str, np.ndarray]:
    """The results of every operator, computed by a fresh process that uses that set."""
    file = folder / f"{isa}.npz"
    paths = [str(HERE), str(HERE.parent), str(Path(roiops.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, isa, str(file)],
        env=os.environ | {"ROIOPS_ISA": isa, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode and "ROIOPS_ISA" in done.stderr:
        pytest.skip(f"this machine has no {isa}")
    assert not done.returncode, done.stderr
    with np.load(file) as results:
        return dict(results)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_decisions_are_those_of_the_baseline(isa: str, tmp_path: Path) -> None:
    got, expected = results_with(isa, tmp_path), results_with("baseline", tmp_path)
    assert got.keys() == expected.keys()
    decides = {case.name: case.decides for case in CASES}
    for name, values in got.items():
        if decides[name.rpartition("/")[0]]:
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
        else:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(values, expected[name], atol=1e-5 * scale, err_msg=name)
