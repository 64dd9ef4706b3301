"""Results as tables."""

from __future__ import annotations

from typing import Any

from rich.table import Table

Result = dict[str, Any]
"""What a run writes: {"machine": ..., "rows": [...]}."""


def key(row: dict[str, Any]) -> tuple[str, str, str, int, str]:
    setting = row["setting"]
    return row["case"], *(setting[name] for name in ("dtype", "layout", "threads", "device"))


def clock(row: dict[str, Any]) -> str:
    on_cpu = row["setting"]["device"] == "cpu"
    return "cpu" if on_cpu and row["setting"]["threads"] == 1 else "wall"


def span(q: dict[str, float], form: str = ".3g") -> str:
    return f"{q['median']:{form}} ({q['low']:{form}}-{q['high']:{form}})"


def table(result: Result) -> Table:
    machine = result["machine"]
    view = Table(
        title=f"{machine['processor']}, {machine['instruction set']}, load {machine['load']:.1f}, "
        f"{machine['date']}, commit {machine['commit']}; ms, median (quartiles)"
    )
    for name in ("case", "type", "layout", "threads", "roiops", "peer", "ratio", "GB/s",
                 "of bandwidth"):  # fmt: skip
        view.add_column(name, justify="left" if name in ("case", "type", "layout") else "right")
    for row in result["rows"]:
        times, setting = row["times"], row["setting"]
        ours = times["ours"][clock(row)]
        theirs = times["theirs"] and times["theirs"][clock(row)]
        rate = row["nbytes"] / times["ours"]["wall"]["median"]
        in_ms = lambda q: span({k: 1e3 * v for k, v in q.items()})  # noqa: E731
        view.add_row(
            row["case"],
            setting["dtype"],
            setting["layout"],
            str(setting["threads"]),
            in_ms(ours),
            in_ms(theirs) if theirs else "-",
            span(times["ratio"]) if times["ratio"] else "-",
            f"{rate / 1e9:.2f}",
            f"{rate / machine['bandwidth']:.0%}",
        )
    return view


def comparison(before: Result, after: Result) -> Table:
    """Two results, row by row. Where both have a peer, its speed cancels the machine's."""
    old = {key(row): row for row in before["rows"]}
    view = Table(title=f"{before['machine']['commit']} to {after['machine']['commit']}")
    for name in ("case", "setting", "ratio to peer before", "after", "speed-up"):
        view.add_column(name, justify="left" if name in ("case", "setting") else "right")
    for row in after["rows"]:
        if key(row) not in old:
            continue
        was, now = old[key(row)]["times"], row["times"]
        setting = ", ".join(str(x) for x in key(row)[1:])
        if was["ratio"] and now["ratio"]:
            cells = (span(was["ratio"]), span(now["ratio"]))
            gain = now["ratio"]["median"] / was["ratio"]["median"]
        else:
            cells = ("-", "-")
            gain = was["ours"][clock(row)]["median"] / now["ours"][clock(row)]["median"]
        mark = " [red]slower[/red]" if gain < 0.9 else ""
        view.add_row(row["case"], setting, *cells, f"{gain:.2f}{mark}")
    return view
