"""Training: from a configuration and a folder to checkpoints, resumable to the bit.

Every random number follows from (seed, iteration, rank), so that a resumed run needs no generator
states and equals the uninterrupted one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from detector.checkpoint import save_checkpoint
from detector.config import Config
from detector.data.loader import training_batches
from detector.distributed import Group, process_group
from detector.evaluate import Metrics, evaluate, print_table
from detector.interrupt import interruptible
from detector.meter import Meter
from detector.prepare import TrainingState, prepare
from detector.report import Reporter, interval_line
from detector.run_folder import RunError, RunFolder
from detector.schedule import learning_rate


class Interrupted(Exception):
    """Ctrl-C: the checkpoint is written; resuming continues from it."""

    def __init__(self, folder: RunFolder, iteration: int) -> None:
        super().__init__(f"stopped; {folder.last} holds iteration {iteration}")
        self.folder = folder


def train(
    config: Config,
    out: Path | str,
    *,
    resume: bool = False,
    init: Path | str | None = None,
    device: torch.device | str = "cpu",
) -> Metrics | None:
    """Trains in the folder `out` and returns the final evaluation, if there is data for it.

    resume: continue the run in `out`. init: a checkpoint whose weights to start from.
    Raises RunError, DataError, CheckpointError before anything is computed where possible;
    RunError at a non-finite loss; Interrupted after Ctrl-C. The last good checkpoint stays.
    """
    with process_group(torch.device(device)) as group:
        state = prepare(config, RunFolder(Path(out)), resume, init, group)
        total = state.config.train.iterations
        log = state.folder.log if group.writes else None
        with Reporter(log, total, state.iteration, quiet=not group.writes) as reporter:
            for note in state.notes:
                reporter.say(note)
            reporter.say(
                f"{len(state.train_data)} training images, "
                f"{len(state.train_data.categories)} categories, "
                f"{sum(p.numel() for p in state.model.parameters()):,} parameters, "
                f"{group.device}, iterations {state.iteration} to {total}"
            )
            threads = torch.get_num_threads()
            torch.set_num_threads(state.config.train.threads or threads)
            try:
                return _run(state, group, reporter)
            except KeyboardInterrupt:  # a second Ctrl-C, or one during the last evaluation
                raise Interrupted(state.folder, state.saved) from None
            finally:
                torch.set_num_threads(threads)


def _run(state: TrainingState, group: Group, reporter: Reporter) -> Metrics | None:
    """The iterations, with checkpoints and evaluations between them."""
    config = state.config.train
    model: nn.Module = state.model
    if group.size > 1:
        devices = [group.device] if group.device.type == "cuda" else None
        model = nn.parallel.DistributedDataParallel(state.model, device_ids=devices)
    with interruptible() as interrupted:
        batches = training_batches(
            state.train_data,
            state.config,
            config.seed,
            state.iteration,
            config.workers,
            group.rank,
            group.size,
        )
        meter = Meter(state.iteration, config.iterations)
        while state.iteration < config.iterations:
            images, targets = next(batches)
            meter.data_ready()
            rate = learning_rate(config, state.iteration)
            losses = _step(state, model, images, targets, rate, group)
            state.iteration += 1
            reporter.advance(*meter.add(losses, rate))
            stop = group.any(interrupted())
            ends = state.iteration == config.iterations
            if ends or state.iteration % config.log_every == 0:
                record = meter.interval()
                reporter.say(interval_line(record, config.iterations))
                if group.writes:
                    state.folder.append_metrics(record)
            evaluates = config.eval_every > 0 and state.iteration % config.eval_every == 0
            if stop or ends or evaluates or state.iteration % config.checkpoint_every == 0:
                if group.writes:
                    save_checkpoint(state.folder.last, state.checkpoint())
                state.saved = state.iteration
            if stop:
                raise Interrupted(state.folder, state.saved)
            if evaluates and not ends:
                _evaluate(state, group, reporter)
                meter.restart()
    return _evaluate(state, group, reporter)


def _step(
    state: TrainingState,
    model: nn.Module,
    images: list[Tensor],
    targets: list[dict[str, Tensor]],
    rate: float,
    group: Group,
) -> dict[str, float]:
    """One update of the weights; none when a loss or the gradient is not finite."""
    iteration = state.iteration
    torch.manual_seed(_iteration_seed(state.config.train.seed, iteration, group.rank))
    images = [image.to(group.device, non_blocking=True) for image in images]
    targets = [
        {key: value.to(group.device, non_blocking=True) for key, value in target.items()}
        for target in targets
    ]
    model.train()
    for parameters in state.optimizer.param_groups:
        parameters["lr"] = rate
    losses = model(images, targets)
    values = {name: loss.item() for name, loss in losses.items()}
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    _stop_if(wrong, "loss", targets, iteration, group)
    state.optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    norm = nn.utils.clip_grad_norm_(
        [p for p in state.model.parameters() if p.requires_grad],
        state.config.train.clip_norm or math.inf,
    )
    wrong = [] if math.isfinite(norm.item()) else ["its norm"]
    _stop_if(wrong, "gradient", targets, iteration, group)
    state.optimizer.step()
    return values


def _stop_if(
    wrong: list[str], what: str, targets: list[dict[str, Tensor]], iteration: int, group: Group
) -> None:
    if not group.any(bool(wrong)):
        return
    ids = ", ".join(str(int(target["image_id"])) for target in targets)
    message = (
        f"non-finite {what} ({', '.join(wrong)}) at iteration {iteration}, images {ids}; training "
        "stopped, last.pt is from before. A lower train.learning_rate or a train.clip_norm may help"
    )
    raise RunError(group.first(message if wrong else None) if group.size > 1 else message)


def _evaluate(state: TrainingState, group: Group, reporter: Reporter) -> Metrics | None:
    """Evaluates in the writing process, records the result and keeps the best weights."""
    metrics = None
    if state.val_data is not None and group.writes:
        metrics = evaluate(
            state.model,
            state.val_data,
            state.config,
            group.device,
            progress=reporter.evaluated,
        )
        reporter.say(f"after iteration {state.iteration}:")
        reporter.show(partial(print_table, metrics))
        state.folder.append_metrics({"iteration": state.iteration, "evaluation": metrics})
        score = metrics.get("segm", metrics["bbox"])["AP"]
        if state.best is None or score > state.best:
            state.best = score
            save_checkpoint(state.folder.best, replace(state.checkpoint(), optimizer=None))
            save_checkpoint(state.folder.last, state.checkpoint())
    group.wait()
    return metrics


def _iteration_seed(seed: int, iteration: int, rank: int) -> int:
    """A seed of its own for every run, iteration and process.

    Mixed by NumPy, because torch's CPU generator looks at 32 bits of a seed only.
    """
    return int(np.random.SeedSequence((seed, rank, iteration)).generate_state(1)[0])
