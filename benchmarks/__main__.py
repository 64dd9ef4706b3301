"""Command line of the benchmarks."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

import roiops
from benchmarks import gpu, growth, machine, page, report, settings
from benchmarks.run import Setting, has_maps, measure
from benchmarks.smallest import SMALLEST
from roiops.testing import CASES, Case

# Wide, so that a table in a file or a pipe is not cut at 80 columns.
console = Console(width=None if sys.stdout.isatty() else 160)


class Seconds(click.FloatRange):
    """Without NaN, which is in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return seconds


def usable(_: click.Context, __: click.Parameter, device: str) -> str:
    if device == "cuda" and "cuda" not in roiops.backends():
        raise click.BadParameter(roiops.show_config().splitlines()[-1])
    return device


def writable(_: click.Context, __: click.Parameter, output: Path | None) -> Path | None:
    """Said before anything is measured."""
    if output:
        try:
            output.open("a").close()
        except OSError as error:
            raise click.BadParameter(str(error)) from error
    return output


NAMES = click.argument("names", nargs=-1)
SECONDS = click.option(
    "--seconds", default=1.0, show_default=True, type=Seconds(0, 3600),
    help="For each row, at least; a comparison takes seven pairs or more.")  # fmt: skip
OUTPUT = click.option(
    "--json", "output", type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=writable, help="Also write the result there, row by row.")  # fmt: skip

Named = TypeVar("Named", Case, growth.Series)


def chosen(every: list[Named], names: tuple[str, ...]) -> list[Named]:
    for name in names:
        if not any(name in one.name for one in every):
            known = ", ".join(one.name for one in every)
            raise click.BadParameter(f"no case has {name!r} in its name; there are {known}")
    return [one for one in every if not names or any(name in one.name for name in names)]


@contextlib.contextmanager
def understood(*files: Path) -> Iterator[None]:
    """Whatever else is wrong with results that somebody has edited."""
    try:
        yield
    except (page.NotForThePage, ArithmeticError, LookupError, TypeError, AttributeError,
            RecursionError, ValueError, OSError) as error:  # fmt: skip
        names = " or ".join(str(file) for file in files)
        raise click.ClickException(f"{names}: {type(error).__name__}: {error}") from error


def read(path: Path, *kinds: str) -> report.Result:
    """A result that has one of these lists of rows."""
    result = json.loads(path.read_text())
    if not isinstance(result, dict) or not any(kind in result for kind in kinds):
        raise ValueError(f"a result must have {' or '.join(kinds)}")
    return result


def write(output: Path | None, result: report.Result) -> None:
    if output:
        output.write_text(json.dumps(result, indent=1) + "\n")


@click.group()
def main() -> None:
    """Speed of roiops beside its peers, as ratios of calls measured in turn."""


@main.command()
@NAMES
@click.option("--dtype", "dtypes", multiple=True, default=["float32"], show_default=True,
              type=click.Choice(["float32", "float64", "float16", "bfloat16"]),
              help="Of feature maps; repeat for several.")  # fmt: skip
@click.option("--layout", "layouts", multiple=True, default=["NCHW"], show_default=True,
              type=click.Choice(["NCHW", "channels_last"]), help="Of feature maps.")  # fmt: skip
@click.option("--threads", multiple=True, default=[1], show_default=True,
              type=click.IntRange(1, 4096))  # fmt: skip
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]),
              callback=usable, help="cuda: times are the GPU's, of tensors there.")  # fmt: skip
@SECONDS
@OUTPUT
def run(
    names: tuple[str, ...],
    dtypes: tuple[str, ...],
    layouts: tuple[str, ...],
    threads: tuple[int, ...],
    device: str,
    seconds: float,
    output: Path | None,
) -> None:
    """Measure the cases whose name contains one of NAMES, or all of them."""
    differences: list[str] = []
    of_gpu = gpu.describe() if device == "cuda" else {}
    result: report.Result = {"machine": machine.describe() | of_gpu, "rows": []}
    for case in chosen([*CASES, *SMALLEST], names):
        several = has_maps(case)
        for setting in (
            Setting(dtype, layout, count, device)
            for dtype in (dtypes if several else ("float32",))
            for layout in (layouts if several else ("NCHW",))
            for count in threads
        ):
            try:
                row = measure(case, setting, seconds)
            except AssertionError as difference:
                differences.append(str(difference))
                console.print(f"[red]{difference}[/red]", highlight=False)
                continue
            result["rows"].append(row.as_dict())
            write(output, result)
            ratio = row.times.ratio
            console.print(
                f"{case.name}: {row.times.ours.wall.median * 1e3:.3g} ms"
                + (f", {ratio.median:.3g} times as fast as {row.peer}" if ratio else ""),
                highlight=False,
            )
    console.print(report.table(result))
    if differences:
        raise click.ClickException("; ".join(differences))


@main.command("settings")
@NAMES
@SECONDS
@OUTPUT
def run_settings(names: tuple[str, ...], seconds: float, output: Path | None) -> None:
    """The same cases in other types and layouts and with two threads, beside float32, NCHW, one."""
    result: report.Result = {"machine": machine.describe(), "settings": []}
    for row in settings.rows(chosen(CASES, names), seconds):
        result["settings"].append(row.as_dict())
        write(output, result)
        console.print(
            f"{row.case}, {row.setting}: {row.ratio.median:.3g} times as fast", highlight=False
        )


@main.command("growth")
@NAMES
@SECONDS
@OUTPUT
def run_growth(names: tuple[str, ...], seconds: float, output: Path | None) -> None:
    """Time and memory as the work grows, of the series whose name contains one of NAMES."""
    result: report.Result = {"machine": machine.describe(), "growth": []}
    for point in growth.points(chosen(growth.SERIES, names), seconds):
        result["growth"].append(point.as_dict())
        write(output, result)
        console.print(
            f"{point.series}, {point.size} {point.unit}: {point.seconds * 1e3:.3g} ms, "
            f"{point.memory / 1e6:.3g} MB",
            highlight=False,
        )


@main.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Two results of `run --json`, row by row."""
    with understood(before, after):
        console.print(report.comparison(read(before, "rows"), read(after, "rows")))


@main.command("page")
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              default=Path(__file__).parents[1] / "docs" / "performance.md",
              help="The page, if not docs/performance.md.")  # fmt: skip
def write_page(result: Path, into: Path) -> None:
    """Write a result of `run`, `settings` or `growth` --json into docs/performance.md."""
    complete: dict[str, list[page.Key]] = {
        "rows": [(case.name, page.ONE_THREAD) for case in [*CASES, *SMALLEST]],
        "settings": [(case.name, name) for case in CASES for name in settings.settings_of(case)],
        "growth": [(series.name, size) for series in growth.SERIES for size in series.sizes],
    }
    with understood(result):
        page.write(into, read(result, *complete), complete)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
