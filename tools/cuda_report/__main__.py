"""make cuda-report. With names of kernels' files or of cases it prints the tables of those alone.

Exits with 1 where a kernel spills registers or adds floating-point numbers atomically.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

from tools.cuda_report import compiled, page
from tools.cuda_report.compiled import ROOT, Kernel

PAGE = ROOT / "docs" / "cuda.md"


def version(tool: str) -> str:
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"release ([\d.]+)", said)[0]


def compile_all(names: list[str], architectures: list[int]) -> list[Kernel]:
    # device.cu says what a GPU is, and computes nothing.
    stems = sorted({source.stem for source in (ROOT / "cuda").glob("*.cu")} - {"device"})
    unknown = set(names) - set(stems)
    if unknown:
        sys.exit(
            f"no kernels of the name {', '.join(sorted(unknown))}; there are {', '.join(stems)}"
        )
    kernels = []
    for stem in names or stems:
        for architecture in architectures:
            print(f"{stem} for sm_{architecture} ...", flush=True)
            kernels += compiled.kernels(ROOT / "cuda" / f"{stem}.cu", architecture)
    return kernels


def count_traffic(names: list[str]) -> list[dict[str, Any]]:
    """In a process of its own: the emulator's arrays belong to the tests."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "emulated_traffic.py", *names],
        stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(names: list[str]) -> int:
    architectures = compiled.architectures((ROOT / "cuda" / "module.cmake").read_text())
    kernels = compile_all(names, architectures)
    tools = f"nvcc {version('nvcc')}, nvdisasm {version(compiled.disassembler())}."
    print("what the emulator counts ...", flush=True)
    tables = {
        "resources": [tools, "", *page.resources(kernels, architectures)],
        "machine code": page.machine_code(kernels),
        "traffic": page.traffic(count_traffic(names)),
    }
    if names:
        print("\n\n".join("\n".join(lines) for lines in tables.values()))
    else:
        page.write(PAGE, tables)
        print(PAGE)
    wrong = [line for kernel in kernels for line in kernel.wrong]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
