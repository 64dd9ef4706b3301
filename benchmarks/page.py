"""Results as the tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS
from benchmarks.report import Result, clock, span
from benchmarks.settings import AT_ONCE


class NotForThePage(Exception):
    """A result that would leave a table without some of its rows."""


Key = tuple[str, str | int]
"""Of a row: its case or series, and its setting or size."""


def write(page: Path, result: Result, complete: dict[str, list[Key]]) -> None:
    """Replace what stands between the two marks of the table that this result is for.

    ``complete``: by kind of result, the rows that it must have.
    """
    kind = next(kind for kind in TABLES if kind in result)
    begin, end = f"<!-- begin: {kind}, by python -m benchmarks page -->\n", "<!-- end -->\n"
    head, _, rest = page.read_text().partition(begin)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise NotForThePage(f"{page} must have the lines {begin.strip()!r} and {end.strip()!r}")
    found = [KEYS[kind](row) for row in result[kind]]
    missing = [f"{one} ({two})" for one, two in complete[kind] if found.count((one, two)) != 1]
    if missing:
        raise NotForThePage(f"it must have, once each, {', '.join(missing)}")
    lines = [*TABLES[kind](result["machine"], result[kind]), ""]
    page.write_text(head + begin + "\n".join(lines) + end + tail)


DEFAULT = {"dtype": "float32", "layout": "NCHW", "threads": 1, "device": "cpu"}


def origin(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['instruction set']}; torch {machine['torch']}, "
        f"torchvision {machine['torchvision']}; {machine['date']}, commit {machine['commit']}"
    )


def cases(machine: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{origin(machine)}. One thread, float32, NCHW; one thread copies "
        f"{machine['bandwidth'] / 1e9:.1f} GB/s.\n",
        "| case | peer | ms | times as fast (quartiles) | aim | GB/s |",
        "|---|---|---:|---:|---:|---:|",
        *(case(row) for row in rows if row["setting"] == DEFAULT),
    ]


def case(row: dict[str, Any]) -> str:
    times, (_, aim) = row["times"], AIMS.get(row["case"], (None, None))
    milliseconds = 1e3 * times["ours"][clock(row)]["median"]
    rate = row["nbytes"] / times["ours"]["wall"]["median"] / 1e9
    aim_text = "" if aim is None else f"{aim:g}"
    if aim is not None and times["ratio"] and times["ratio"]["median"] < aim:
        aim_text = f"**{aim:g}**"
    ratio = span(times["ratio"]) if times["ratio"] else ""
    return (
        f"| {row['case']} | {row['peer'] or ''} | {milliseconds:.3g} | {ratio} | {aim_text} | "
        f"{rate:.2f} |"
    )


def settings(machine: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    found = {(row["case"], row["setting"]): f"{row['ratio']['median']:.2f}" for row in rows}
    names = [name for name in dict.fromkeys(name for _, name in found) if name != AT_ONCE]
    at_once = ", ".join(ratio for (_, name), ratio in found.items() if name == AT_ONCE)
    return [
        f"{origin(machine)}. Two calls that share nothing, a thread each: {at_once}.\n",
        f"| case | {' | '.join(names)} |",
        "|---|" + "---:|" * len(names),
        *(
            f"| {case} | {' | '.join(found.get((case, name), '') for name in names)} |"
            for case in dict.fromkeys(case for case, _ in found)
        ),
    ]


def growth(machine: dict[str, Any], points: list[dict[str, Any]]) -> list[str]:
    return [
        f"{origin(machine)}.\n",
        "| work | size | ms | µs for each | MB beside arguments and results |",
        "|---|---:|---:|---:|---:|",
        *map(point, points),
    ]


def point(p: dict[str, Any]) -> str:
    each = f"{1e6 * p['seconds'] / p['size']:.3g}" if p["proportional"] else ""
    return (
        f"| {p['series']} | {p['size']:,} {p['unit']} | {1e3 * p['seconds']:.3g} | {each} | "
        f"{p['memory'] / 1e6:.2f} |"
    )


ONE_THREAD = "float32, NCHW, one thread"
KEYS: dict[str, Callable[[dict[str, Any]], Key]] = {
    "rows": lambda row: (row["case"], ONE_THREAD if row["setting"] == DEFAULT else "another"),
    "settings": lambda row: (row["case"], row["setting"]),
    "growth": lambda point: (point["series"], point["size"]),
}
TABLES: dict[str, Callable[[dict[str, Any], list[dict[str, Any]]], list[str]]] = {
    "rows": cases,
    "settings": settings,
    "growth": growth,
}
"""By the name under which a result has its rows."""
