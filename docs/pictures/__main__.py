"""Draw every picture of this folder: ``python docs/pictures [FOLDER]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import drawing

HERE = Path(__file__).resolve().parent
PICTURES = sorted({path.stem for path in HERE.glob("*.py")} - {"__main__", "drawing"})


def main(folder: Path = HERE) -> None:
    for name in PICTURES:
        picture = drawing.to_svg(importlib.import_module(name).draw())
        (folder / f"{name}.svg").write_text(picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
