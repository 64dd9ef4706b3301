"""Does a wheel hold what it should, and nothing else?

    python tools/check_wheel.py dist/roiops-*.whl

Files are compared with the source tree, so that a module, a stub or a data file that is added here
and forgotten in the packaging is named. The compiled module may need nothing but what every Linux
has: no torch, no Python library, no OpenMP. Its tag must say on which Linux systems it runs
(manylinux): pip installs it there and refuses it elsewhere.
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("roiops/**/*.py", "roiops/**/*.pyi", "roiops/py.typed", "detector/**/*.py",
           "detector/data/nuclei_dsb2018/**/*")  # fmt: skip
EXTENSION = "roiops/_cpu.cpython-*.so"
SYSTEM_LIBRARIES = ("libstdc++.so*", "libm.so*", "libgcc_s.so*", "libc.so*", "libpthread.so*",
                    "ld-linux*")  # fmt: skip


def expected_files(root: Path) -> set[str]:
    """What the wheel must hold, but for the compiled module and the metadata."""
    found = {path for pattern in SOURCES for path in root.glob(pattern) if path.is_file()}
    return {path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts}


def problems(names: list[str], expected: set[str]) -> list[str]:
    """What is wrong with a wheel of these names."""
    packed = {name for name in names if ".dist-info/" not in name and not name.endswith("/")}
    extensions = fnmatch.filter(packed, EXTENSION)
    found = [f"missing: {name}" for name in sorted(expected - packed)]
    found += [f"not wanted: {name}" for name in sorted(packed - expected - set(extensions))]
    if len(extensions) != 1:
        found.append(f"one compiled module {EXTENSION} wanted; got {extensions}")
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
        found = problems(names, expected_files(ROOT))
        for extension in fnmatch.filter(names, EXTENSION):
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
