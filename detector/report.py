"""What a person sees of a training: lines, and on a terminal a live one below them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Reporter:
    """Writes to the console and, without the live line, to a log file.

    `quiet` is for the processes of a group that do not write.
    """

    def __init__(self, log: Path | None, total: int, done: int, quiet: bool = False) -> None:
        console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._file = None if log is None else log.open("a", encoding="utf-8")
        self._consoles = [console]
        if self._file is not None:
            self._consoles.append(Console(file=self._file, width=100, soft_wrap=True))
        self._progress = Progress(
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=done, state="", eta="")

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()
        if self._file is not None:
            self._file.close()

    def say(self, text: str) -> None:
        self.show(lambda console: console.print(text, markup=False, highlight=False))

    def show(self, printing: Callable[[Console], None]) -> None:
        """Lets something print itself wherever lines go."""
        for console in self._consoles:
            printing(console)
        if self._file is not None:
            self._file.flush()

    def advance(self, iteration: int, loss: float, rate: float, seconds_left: float) -> None:
        """Moves the live line, after every iteration."""
        self._progress.update(
            self._task,
            completed=iteration,
            state=f"loss {loss:.3f}  lr {rate:.1e}",
            eta=f"{_duration(seconds_left)} left",
        )

    def evaluated(self, done: int, total: int) -> None:
        self._progress.update(self._task, state=f"evaluating {done}/{total}", eta="")


def interval_line(record: dict[str, Any], total: int) -> str:
    """One record of metrics.jsonl as a line for people."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in record["losses"].items())
    return (
        f"{record['iteration']}/{total}  loss {record['loss']:.3f} ({losses})  "
        f"lr {record['learning_rate']:.1e}  {record['seconds_per_iteration']:.2f} s/it  "
        f"{_duration(record['eta_seconds'])} left"
    )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
