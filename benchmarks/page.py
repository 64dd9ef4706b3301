"""A result as the table of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS
from benchmarks.report import Result, clock, span

BEGIN, END = "<!-- begin: python -m benchmarks page -->\n", "<!-- end -->\n"


def write(page: Path, result: Result) -> None:
    """Replace what stands between the two marks."""
    head, _, rest = page.read_text().partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} must have the lines {BEGIN.strip()!r} and {END.strip()!r}")
    page.write_text(head + BEGIN + table(result) + END + tail)


def table(result: Result) -> str:
    machine = result["machine"]
    lines = [
        f"{machine['processor']}, {machine['instruction set']}, one thread, float32, NCHW; torch "
        f"{machine['torch']}, torchvision {machine['torchvision']}; {machine['date']}, commit "
        f"{machine['commit']}; one thread copies {machine['bandwidth'] / 1e9:.1f} GB/s.\n",
        "| case | peer | ms | times as fast (quartiles) | aim | GB/s |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [line(row) for row in result["rows"]]
    return "\n".join(lines) + "\n"


def line(row: dict[str, Any]) -> str:
    times, (_, aim) = row["times"], AIMS.get(row["case"], (None, None))
    milliseconds = 1e3 * times["ours"][clock(row)]["median"]
    rate = row["nbytes"] / times["ours"]["wall"]["median"] / 1e9
    reached = "" if aim is None else f"{aim:g}"
    if aim is not None and times["ratio"] and times["ratio"]["median"] < aim:
        reached = f"**{aim:g}**"
    ratio = span(times["ratio"]) if times["ratio"] else ""
    return (
        f"| {row['case']} | {row['peer'] or ''} | {milliseconds:.3g} | {ratio} | {reached} | "
        f"{rate:.2f} |"
    )
