"""How many times as fast as its peer each case is, beside the aim and what memory allows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drawing
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.aims import AIMS  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "cpu.json"


def draw() -> Figure:
    result = json.loads(RESULT.read_text())
    rows = [row for row in result["rows"] if row["times"]["ratio"]][::-1]
    fig, (axes,) = drawing.figure(6.6, 0.17 * len(rows) + 0.9)
    for y, row in enumerate(rows):
        ratio = row["times"]["ratio"]
        peer = row["times"]["theirs"]["cpu"]["median"]
        bound = peer / (row["nbytes"] / result["machine"]["bandwidth"])
        if "smallest" not in row["case"]:  # which moves nothing
            axes.plot([bound], [y], "|", color=drawing.QUIET, ms=7)
        axes.plot([ratio["low"], ratio["high"]], [y, y], color=drawing.READ, lw=3, alpha=0.5)
        axes.plot([ratio["median"]], [y], "o", color=drawing.READ, ms=4)
        prototype, aim = AIMS.get(row["case"], (None, None))
        if prototype:
            axes.plot([prototype], [y], "x", color=drawing.SERIES[2], ms=5)
        if aim:
            axes.plot([aim], [y], "D", color=drawing.BOX, ms=3.5, mfc="none")
    for marker, colour, label in (
        ("o", drawing.READ, "roiops, median and quartiles"),
        ("D", drawing.BOX, "aim"),
        ("x", drawing.SERIES[2], "prototype of the kernel"),
        ("|", drawing.QUIET, "arguments and results at the speed of a copy"),
    ):
        fill = "none" if marker == "D" else colour
        axes.plot([], [], marker, color=colour, label=label, mfc=fill)
    axes.axvline(1, color=drawing.PALE, lw=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [row["case"] for row in rows], fontsize=7)
    axes.set(xscale="log", xlabel="times as fast as the peer", ylim=(-1, len(rows)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=7)
    return fig
