"""Means of losses and times between two lines of metrics.jsonl."""

from __future__ import annotations

import time
from typing import Any

import torch


class Meter:
    """Means and times since the last interval."""

    def __init__(self, iteration: int, total: int) -> None:
        self.iteration = iteration
        self.total = total
        self.pace: float | None = None
        self.restart()

    def restart(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}
        self.waited = 0.0
        self.started = self.before = time.perf_counter()

    def data_ready(self) -> None:
        self.waited += time.perf_counter() - self.before

    def add(self, losses: dict[str, float], rate: float) -> tuple[int, float, float, float]:
        """Counts an iteration: (iteration, loss, learning rate, seconds left)."""
        now = time.perf_counter()
        seconds, self.before = now - self.before, now
        # Smoothed, so that a slow iteration does not make the time left jump.
        self.pace = seconds if self.pace is None else 0.95 * self.pace + 0.05 * seconds
        self.iteration += 1
        self.count += 1
        self.rate = rate
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        left = (self.total - self.iteration) * self.pace
        return self.iteration, sum(losses.values()), rate, left

    def interval(self) -> dict[str, Any]:
        """The record of metrics.jsonl for the iterations since the last one."""
        losses = {name: value / self.count for name, value in self.sums.items()}
        seconds = (time.perf_counter() - self.started) / self.count
        record = {
            "iteration": self.iteration,
            "loss": sum(losses.values()),
            "losses": losses,
            "learning_rate": self.rate,
            "seconds_per_iteration": seconds,
            "data_seconds_per_iteration": self.waited / self.count,
            "eta_seconds": (self.total - self.iteration) * seconds,
        }
        if torch.cuda.is_initialized():
            record["max_memory_bytes"] = torch.cuda.max_memory_allocated()
        self.restart()
        return record
