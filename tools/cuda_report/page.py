"""The tables of docs/cuda.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.cuda_report import compiled
from tools.cuda_report.compiled import Kernel

# Neighbouring threads read neighbouring channels there, and could read several at once.
WIDE_LOADS_WANTED = {*(f"roi_align mean_forward<{n}, true>" for n in (2, 4, 8)), "roi_pool pool"}


def write(page: Path, tables: dict[str, list[str]]) -> None:
    """Replace what stands between the two marks of each table."""
    text = page.read_text()
    for name, lines in tables.items():
        begin, end = f"<!-- begin: {name}, by make cuda-report -->\n", "<!-- end -->\n"
        head, _, rest = text.partition(begin)
        _, mark, tail = rest.partition(end)
        if not mark:
            raise ValueError(f"{page} must have the lines {begin.strip()!r} and {end.strip()!r}")
        text = head + begin + "\n".join([*lines, ""]) + end + tail
    page.write_text(text)


def table(head: Iterable[str], rows: Iterable[Iterable[str]], texts: int = 1) -> list[str]:
    """The first ``texts`` columns are words, the others numbers."""
    head = list(head)
    marks = ["---" if i < texts else "---:" for i in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)]


def bold(text: str, missed: bool) -> str:
    return f"**{text}**" if missed else text


def span(values: Iterable[int]) -> str:
    low, high = min(values := list(values)), max(values)
    return f"{low}" if low == high else f"{low}-{high}"


# --- of the compiler ----------------------------------------------------------------------------


def shown(kernels: list[Kernel]) -> list[tuple[str, str, list[Kernel]]]:
    """Of each kernel two instantiations: float32 alone, and that with the most registers.

    A name, the types in words, and the instantiation for each architecture.
    """
    families: dict[str, dict[tuple[str, ...], list[Kernel]]] = {}
    for kernel in kernels:
        # A number or a flag makes another kernel of it, a type does not.
        values = [x for x in kernel.types if x.isdecimal() or x in ("true", "false")]
        name = f"{kernel.source} {kernel.name}" + (f"<{', '.join(values)}>" if values else "")
        types = tuple(x for x in kernel.types if x not in values)
        families.setdefault(name, {}).setdefault(types, []).append(kernel)
    rows = []
    for name, family in families.items():
        usual = next((types for types in family if set(types) <= {"float32"}), next(iter(family)))
        worst = max(family, key=lambda types: max(k.usage.registers for k in family[types]))
        for types in dict.fromkeys((usual, worst)):
            words = ", ".join(dict.fromkeys(types)) or "-"
            rows.append((name, words, family[types]))
    return rows


def resources(kernels: list[Kernel], architectures: list[int]) -> list[str]:
    def row(name: str, types: str, instances: list[Kernel]) -> list[str]:
        by_architecture = {kernel.architecture: kernel for kernel in instances}
        stack = max(kernel.usage.stack for kernel in instances)
        spills = max(kernel.usage.spills for kernel in instances)
        shared = max(kernel.usage.shared for kernel in instances)
        resident = (by_architecture[architecture] for architecture in architectures)
        return [
            *(name, types, bold(str(spills), spills > 0), bold(str(stack), stack > 0), str(shared)),
            *(f"{kernel.usage.registers}, {kernel.occupancy:.0%}" for kernel in resident),
        ]

    head = ["kernel", "types", "spills", "stack", "shared", *(f"sm_{a}" for a in architectures)]
    return table(head, (row(*one) for one in shown(kernels)), texts=2)


UNWANTED = (compiled.LOCAL, compiled.GENERIC, compiled.FLOAT_ATOMICS)


def machine_code(kernels: list[Kernel]) -> list[str]:
    def row(name: str, types: str, instances: list[Kernel]) -> list[str]:
        codes = [kernel.code for kernel in instances]
        wide = [code.count(compiled.WIDE_LOADS) for code in codes]
        unwanted = [[code.count(pattern) for code in codes] for pattern in UNWANTED]
        callees = sorted({callee for kernel in instances for callee in kernel.slow_paths})
        calls = (f"{c} {span(kernel.slow_paths[c] for kernel in instances)}" for c in callees)
        return [
            name,
            types,
            span(sum(code.instructions.values()) for code in codes),
            bold(span(wide), name in WIDE_LOADS_WANTED and min(wide) == 0),
            span(code.count(compiled.WIDE_STORES) for code in codes),
            *(bold(span(counts), max(counts) > 0) for counts in unwanted),
            ", ".join(calls),
        ]

    head = ["kernel", "types", "instructions", "128-bit loads", "128-bit stores", "local",
            "generic", "float atomics", "calls"]  # fmt: skip
    return table(head, (row(*one) for one in shown(kernels)), texts=2)


# --- of the emulator ----------------------------------------------------------------------------

SECTOR = 32


def traffic(counted: list[dict[str, Any]]) -> list[str]:
    def row(case: dict[str, Any]) -> list[str]:
        def sectors(what: str) -> str:
            return f"{case[what] * SECTOR / case['units']:,.0f}"

        def useful(of: str) -> float:
            return case[f"useful {of}"] / max(case[f"sectors {of}"] * SECTOR, 1)

        ratio = case["sectors loaded"] / max(case["distinct loaded"], 1)
        loaded, stored = useful("loaded"), useful("stored")
        return [
            case["case"],
            case["unit"],
            sectors("sectors loaded"),
            sectors("distinct loaded"),
            sectors("floor loaded"),
            bold(f"{ratio:.2f}", ratio > 2),
            bold(f"{loaded:.0%}", case["channels_last"] and loaded < 0.95),
            sectors("sectors stored"),
            sectors("floor stored"),
            bold(f"{stored:.0%}", stored < 0.9),
        ]

    head = ["case", "per", "requested", "perfect L1", "floor", "requested / perfect L1", "useful",
            "stored", "floor", "useful"]  # fmt: skip
    return table(head, map(row, counted), texts=2)
