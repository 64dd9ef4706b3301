"""Optimiser and learning rate of a configuration."""

from __future__ import annotations

import math

import torch
from torch import nn

from detector.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    plain = [p for p in parameters if p.ndim < 2 and not config.decay_vectors]
    decayed = [p for p in parameters if p.ndim >= 2 or config.decay_vectors]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    if plain:
        groups.append({"params": plain, "weight_decay": 0.0})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """The rate of an iteration, counted from 0: a function, so that resuming needs no state."""
    if config.schedule == "steps":
        factor = config.step_factor ** sum(step <= iteration for step in config.steps)
    else:
        progress = min(iteration / config.iterations, 1.0)
        factor = config.final_factor + (1 - config.final_factor) * (
            0.5 + 0.5 * math.cos(math.pi * progress)
        )
    if iteration < config.warmup_iterations:
        alpha = iteration / config.warmup_iterations
        factor *= config.warmup_factor * (1 - alpha) + alpha
    return config.learning_rate * factor
