"""Command lines printed for people, which must work where they are printed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_line(*arguments: str | Path) -> str:
    """`python -m detector ARGUMENTS`, with the interpreter that is running now."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    start = [_python()] if processes == 1 else ["torchrun", f"--nproc_per_node={processes}"]
    return shlex.join([*start, "-m", "detector", *map(str, arguments)])


def shortest(path: Path) -> Path:
    """The path as seen from the working folder, where it lies below it."""
    path, here = Path(os.path.abspath(path)), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _python() -> str:
    for name in ("python", "python3"):
        if shutil.which(name) == sys.executable:
            return name
    return str(shortest(Path(sys.executable)))
