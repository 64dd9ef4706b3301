"""Does a wheel hold what it should, and nothing else?

    python tools/check_wheel.py dist/roiops-*.whl

Files are compared with the source tree, so that a module, a stub or a data file that is added here
and forgotten in the packaging is named. The compiled modules may need nothing but what every Linux
has: no torch, no Python library, no OpenMP, nothing of CUDA. The kernels for GPUs must be there
where nvcc is. The wheel's tag must say on which Linux systems it runs
(manylinux): pip installs it there and refuses it elsewhere.
"""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("roiops/**/*.py", "roiops/**/*.pyi", "roiops/py.typed", "detector/**/*.py",
           "detector/paper_rows.json", "detector/data/nuclei_dsb2018/**/*")  # fmt: skip
EXTENSIONS = ("roiops/_cpu.cpython-*.so", "roiops/_cuda.cpython-*.so")
SYSTEM_LIBRARIES = ("libstdc++.so*", "libm.so*", "libgcc_s.so*", "libc.so*", "libpthread.so*",
                    "libdl.so*", "librt.so*", "ld-linux*")  # fmt: skip


def expected_files(root: Path) -> set[str]:
    """What the wheel must hold, but for the compiled module and the metadata."""
    found = {path for pattern in SOURCES for path in root.glob(pattern) if path.is_file()}
    return {path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts}


def extensions(names: list[str]) -> list[str]:
    return [name for pattern in EXTENSIONS for name in fnmatch.filter(names, pattern)]


def problems(names: list[str], expected: set[str], cuda: bool) -> list[str]:
    """What is wrong with a wheel of these names, with the kernels for GPUs or without."""
    packed = {name for name in names if ".dist-info/" not in name and not name.endswith("/")}
    found = [f"missing: {name}" for name in sorted(expected - packed)]
    found += [f"not wanted: {name}" for name in sorted(packed - expected - {*extensions(names)})]
    for pattern, wanted in zip(EXTENSIONS, (1, int(cuda)), strict=True):
        got = fnmatch.filter(packed, pattern)
        if len(got) != wanted:
            found.append(f"{wanted} compiled module {pattern} wanted; got {got}")
    if not any(fnmatch.fnmatch(name, "*.dist-info/licenses/LICENSE") for name in names):
        found.append("missing: LICENSE")
    return found


def needed_libraries(extension: bytes) -> list[str]:
    """The shared libraries that the compiled module names."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(extension)
        file.flush()
        listing = subprocess.run(
            ["objdump", "-p", file.name], check=True, capture_output=True, text=True
        ).stdout
    return [line.split()[1] for line in listing.splitlines() if "NEEDED" in line]


def main(path: str) -> int:
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        found = problems(names, expected_files(ROOT), bool(shutil.which("nvcc")))
        for extension in extensions(names):
            print(f"{extension}: {wheel.getinfo(extension).file_size / 1e6:.1f} MB")
            found += [
                f"{extension} needs {library}"
                for library in needed_libraries(wheel.read(extension))
                if not any(fnmatch.fnmatch(library, system) for system in SYSTEM_LIBRARIES)
            ]
    if "manylinux" not in Path(path).name:
        found.append("no manylinux tag: auditwheel has not repaired it")
    size = Path(path).stat().st_size
    print(f"{Path(path).name}: {size / 1e6:.1f} MB, {len(names)} files, {len(found)} problems")
    for problem in found:
        print(f"  {problem}", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
