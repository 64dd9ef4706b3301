"""What is handed out: the source distribution is whole, and the check of the wheel can fail.

(The wheel itself is checked where it is built: tools/build_wheel.sh, in `make test-matrix`.)
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

import roiops

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cpp", "roiops", "detector", "tests", "tools", "constraints", "docs")
MADE_HERE = (
    "__pycache__",
    "*.so",
    ".venv*",
    ".git",
    "build",
    "dist",
    "runs",
    "*.egg-info",
    ".*cache",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources without what was made in them."""
    copy = tmp_path_factory.mktemp("sources") / "roiops"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*MADE_HERE, ".hypothesis"))
    return copy


@pytest.fixture(scope="module")
def source_distribution(checkout: Path) -> tarfile.TarFile:
    build = "from scikit_build_core.setuptools.build_meta import build_sdist; build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    (archive,) = (checkout / "dist").glob("*.tar.gz")
    return tarfile.open(archive)


def test_source_distribution_is_whole(checkout: Path, source_distribution) -> None:
    names = {name.partition("/")[2] for name in source_distribution.getnames()}
    files = [p for room in ROOMS for p in (checkout / room).rglob("*")]
    files += [p for p in checkout.iterdir() if p.suffix in (".md", ".py", ".toml", ".txt")]
    files += [checkout / "LICENSE", checkout / "Makefile", checkout / ".clang-format"]
    wanted = {p.relative_to(checkout).as_posix() for p in files if p.is_file()}
    assert len(wanted) > 100
    assert wanted - names == set()


def test_version_is_the_packages(source_distribution: tarfile.TarFile) -> None:
    information = source_distribution.extractfile(f"roiops-{roiops.__version__}/PKG-INFO")
    assert information is not None
    assert f"Version: {roiops.__version__}\n" in information.read().decode()


@pytest.fixture(scope="module")
def check_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "tools/check_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CUDA_EXTENSION = "roiops/_cuda.cpython-311-x86_64-linux-gnu.so"
METADATA = ["roiops-1.dist-info/METADATA", "roiops-1.dist-info/licenses/LICENSE"]
EXTENSION = "roiops/_cpu.cpython-311-x86_64-linux-gnu.so"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set(), None),
        ({"roiops/_cpu.pyi"}, "missing: roiops/_cpu.pyi"),
        ({"detector/data/nuclei_dsb2018/README.md"}, "missing: detector/data"),
        ({EXTENSION}, "1 compiled module"),
        ({CUDA_EXTENSION}, "1 compiled module"),
        ({METADATA[1]}, "missing: LICENSE"),
        ({"tests/conftest.py"}, "not wanted: tests/conftest.py"),
        ({EXTENSION.replace("311", "312")}, "1 compiled module"),
    ],
)
def test_wheel_check_sees(check_wheel: ModuleType, change: set[str], said: str | None) -> None:
    """``change`` is taken away where it belongs to a wheel, added where it does not."""
    expected = check_wheel.expected_files(ROOT)
    names = {*expected, EXTENSION, CUDA_EXTENSION, *METADATA} ^ change
    problems = check_wheel.problems(sorted(names), expected, cuda=True)
    assert len(problems) == (said is not None)
    assert all(problem.startswith(str(said)) for problem in problems)


def test_wheel_check_knows_wheels_without_kernels(check_wheel: ModuleType) -> None:
    expected = check_wheel.expected_files(ROOT)
    names = [*expected, EXTENSION, *METADATA]
    assert check_wheel.problems(names, expected, cuda=False) == []
    (problem,) = check_wheel.problems([*names, CUDA_EXTENSION], expected, cuda=False)
    assert problem.startswith("0 compiled module roiops/_cuda")


def test_nothing_is_compiled_for_this_machine_alone() -> None:
    """Wheels move between machines: instruction sets are named and chosen at run time."""
    files = ("CMakeLists.txt", "cuda/module.cmake", "setup.py", "pyproject.toml")
    for file in (ROOT / name for name in files):
        assert "native" not in file.read_text(), file.name
