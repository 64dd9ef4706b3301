"""The folder of a training: what is in it, and who may write there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detector.config import Config, to_yaml


class RunError(ValueError):
    """A training that cannot start or go on; the message says why and what to do."""


class RunFolder:
    """config.yaml (resolved), metrics.jsonl, log.txt, last.pt, best.pt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.pt"
        self.best = path / "best.pt"
        self.log = path / "log.txt"
        self.metrics = path / "metrics.jsonl"

    def check_new(self) -> None:
        """Raises RunError when something is already there: no run overwrites another."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} must be a folder; it is a file")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty: choose another --out, or add --resume to continue "
                "the training in it"
            )

    def check_resumable(self) -> None:
        if not self.last.is_file():
            raise RunError(f"{self.path} has no checkpoint last.pt to resume from")

    def create(self, config: Config) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")

    def append_metrics(self, record: dict[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def drop_metrics_after(self, iteration: int) -> None:
        """Forgets what a killed run recorded beyond its checkpoint: it is computed again."""
        if self.metrics.is_file():
            lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _iteration(line) <= iteration]
            self.metrics.write_text("".join(kept), encoding="utf-8")


def _iteration(line: str) -> float:
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # cut short by the kill
