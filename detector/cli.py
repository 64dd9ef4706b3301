"""The command line. Wrong usage exits with 2, a mistake in data or files with one line and 1.

Commands import what they need when they run: `--help` should not wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.command import command_line
from detector.config import ConfigError

if TYPE_CHECKING:
    import torch

FILE = click.Path(path_type=Path)
INTERRUPTED = 130  # as shells have it: 128 + SIGINT


class _Group(click.Group):
    """Turns the errors a user can cause into one clear line."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            context.exit(INTERRUPTED)
        except ConfigError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else "a file could not be written: "
            raise click.ClickException(place + (error.strerror or str(error))) from None
        except ValueError as error:
            from detector.checkpoint import CheckpointError
            from detector.convert import ConversionError
            from detector.data import DataError
            from detector.run_folder import RunError

            if isinstance(error, CheckpointError | ConversionError | DataError | RunError):
                raise click.ClickException(str(error)) from None
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Mask R-CNN: train, evaluate, predict."""


device_option = click.option(
    "--device",
    "device_name",
    default="auto",
    help="cpu, or cuda where roiops was built for it; auto takes the better.",
)


@cli.command()
@click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]...")
@click.option("--config", "source", help="Named configuration (see configs list) or YAML file.")
@click.option("--data", help="coco:DIR, coco:ANNOTATIONS.json:IMAGES or nuclei.")
@click.option("--out", type=FILE, required=True, help="Folder for everything the run writes.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--init", type=FILE, help="Checkpoint whose weights to start from.")
@click.option(
    "--reduced",
    is_flag=True,
    help="Shrink the model, the images and the training: "
    "to see within seconds that all of it runs.",
)
@click.option("--seed", type=int, help="train.seed")
@click.option("--max-iters", type=int, help="train.iterations")
@click.option("--eval-every", type=int, help="train.eval_every: iterations between evaluations.")
@device_option
def train(
    overrides: tuple[str, ...],
    source: str | None,
    data: str | None,
    out: Path,
    resume: bool,
    init: Path | None,
    reduced: bool,
    seed: int | None,
    max_iters: int | None,
    eval_every: int | None,
    device_name: str,
) -> None:
    """Train a model; KEY.SUB=VALUE changes single keys of the configuration.

    \b
    OUT gets config.yaml, metrics.jsonl, log.txt, last.pt, and best.pt if there is validation data.
    """
    from detector.checkpoint import load_checkpoint
    from detector.config import parse_overrides, update
    from detector.presets import load_config
    from detector.presets import reduced as reduce
    from detector.run_folder import RunFolder
    from detector.train import Interrupted
    from detector.train import train as run

    if resume and init is not None:
        raise click.UsageError("--resume continues a run, --init starts one: give only one")
    if resume and reduced:
        raise click.UsageError("--reduced is for the start of a run: --resume keeps what it was")
    if not resume and source is None:
        raise click.UsageError("give --config NAME or FILE, or --resume")
    folder = RunFolder(out)
    if resume:
        folder.check_resumable()
    else:
        folder.check_new()
    config = load_checkpoint(folder.last).config if source is None else load_config(source)
    if reduced:
        config = reduce(config)
    config = update(config, parse_overrides(overrides))
    flags = {"seed": seed, "iterations": max_iters, "eval_every": eval_every}
    config = update(
        config,
        {"train": {key: value for key, value in flags.items() if value is not None}}
        | ({} if data is None else {"data": data}),
    )
    try:
        run(config, out, resume=resume, init=init, device=_device(device_name))
    except Interrupted as stop:
        _say_how_to_resume(stop, device_name)


@cli.group()
def configs() -> None:
    """The named configurations, among them one for every row of the paper's tables.

    \b
    NAME:CONVENTION has the choices of another implementation where the paper is silent:
    paper, detectron, detectron2, torchvision.
    """


@configs.command("list")
def list_configs() -> None:
    """Name, table and row of the paper, and what it measured."""
    from detector.paper import PAPER
    from detector.presets import PRESETS

    width = max(map(len, PRESETS))
    for name in PRESETS:
        row = PAPER.get(name)
        place = f"  {row.table}, {row.row}: {row.summary()}" if row else ""
        click.echo(f"{name:{width}}{place}".rstrip())


@configs.command("show")
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]...")
def show_config(name: str, overrides: tuple[str, ...]) -> None:
    """Every key of a configuration as YAML, after the paper's row and what it measured."""
    from detector.config import to_yaml
    from detector.paper import PAPER
    from detector.presets import load_config

    config = load_config(name, overrides)
    row = PAPER.get(name.partition(":")[0])
    if row is not None:
        click.echo(f"# table {row.table}, {row.row}".replace("table text", "text, section"))
        click.echo(f"# {row.summary()}")
        for lacking in row.not_yet:
            click.echo(f"# not yet: {lacking}")
    click.echo(to_yaml(config), nl=False)


@configs.command("diff")
@click.argument("first")
@click.argument("second")
def diff_configs(first: str, second: str) -> None:
    """The keys in which two configurations differ, with the values of both."""
    from detector.config import differences
    from detector.presets import load_config

    found = differences(load_config(first), load_config(second))
    for key, (one, other) in found.items():
        click.echo(f"{key}: {one} -> {other}")
    if not found:
        click.echo("no difference")


@cli.command("eval")
@click.option("--weights", type=FILE, required=True, help="Checkpoint.")
@click.option("--data", help="As for train; default: the data it was trained with.")
@click.option("--split", type=click.Choice(["train", "val"]), default="val", show_default=True)
@click.option("--json", "json_path", type=FILE, help="Write the predictions as COCO results.")
@device_option
def evaluate(
    weights: Path, data: str | None, split: str, json_path: Path | None, device_name: str
) -> None:
    """Measure a checkpoint's average precision."""
    from rich.console import Console

    from detector.checkpoint import load_model
    from detector.data import open_dataset, validate_annotations
    from detector.evaluate import evaluate as run
    from detector.evaluate import print_table

    device = _device(device_name)
    model, checkpoint = load_model(weights, device)
    dataset = open_dataset(
        data or checkpoint.config.data,
        "train" if split == "train" else "val",
        categories=checkpoint.categories,
    )
    for note in validate_annotations(dataset, checkpoint.config.train.skip_empty):
        click.echo(note)
    with _progress("evaluating") as progress:
        metrics = run(model, dataset, checkpoint.config, device, json_path, progress)
    print_table(metrics, Console())
    if json_path is not None:
        click.echo(f"predictions: {json_path}")


@cli.command()
@click.argument("images", nargs=-1, required=True, type=FILE)
@click.option("--weights", type=FILE, required=True, help="Checkpoint.")
@click.option("--out", type=FILE, default=Path("predictions"), show_default=True)
@click.option("--score", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option("--json", "json_path", type=FILE, help="Write the detections as COCO annotations.")
@device_option
def predict(
    images: tuple[Path, ...],
    weights: Path,
    out: Path,
    score: float,
    json_path: Path | None,
    device_name: str,
) -> None:
    """Draw the objects found in image files and folders of them."""
    from detector.checkpoint import load_model
    from detector.predict import predict as run

    device = _device(device_name)
    model, checkpoint = load_model(weights, device)
    with _progress("predicting") as progress:
        written = run(
            model,
            images,
            out,
            checkpoint.config.input,
            checkpoint.categories,
            device,
            score_threshold=score,
            json_path=json_path,
            progress=progress,
        )
    for picture, objects in zip(written.pictures, written.objects, strict=True):
        click.echo(f"{picture}: {objects} objects")
    for error in written.failed:
        click.echo(f"Error: {error}", err=True)
    if written.failed:
        sys.exit(1)


@cli.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("out", type=FILE)
@click.option(
    "--from",
    "layout",
    required=True,
    type=click.Choice(["torchvision", "detectron2", "caffe2"]),
    help="Whose weights IN holds; caffe2 is Detectron.",
)
@click.option("--partial", is_flag=True, help="Write OUT although something is missing or left.")
@click.option(
    "--stride-in",
    type=click.Choice(["1x1", "3x3"]),
    help="Convolution of a bottleneck that strides, which no weight tells.  [default: 3x3 for "
    "torchvision and ResNeXt, else 1x1]",
)
@click.option(
    "--norm-eps",
    type=click.FloatRange(0),
    default=1e-5,
    show_default=True,
    help="Of the backbone's norms; 0 for torchvision's COCO_V1 weights of models that are not v2.",
)
def convert(
    source: Path, out: Path, layout: str, partial: bool, stride_in: str | None, norm_eps: float
) -> None:
    """Make a checkpoint OUT of the weights of another project.

    Prints what became of every key. A backbone alone is --partial, for `train --init`.
    """
    from detector.checkpoint import save_checkpoint
    from detector.convert import ConversionError
    from detector.convert import convert as run

    if out.exists():
        raise ConversionError(f"{out} exists already; nothing is overwritten")
    result, checkpoint = run(source, layout, stride_in=stride_in, norm_eps=norm_eps)
    for line in result.lines():
        click.echo(line)
    if not result.matched:
        raise ConversionError(f"{source}: no key is one of the model's; {out} is not written")
    if not result.complete and not partial:
        raise ConversionError(
            f"{source}: {len(result.unknown)} keys have no place and {len(result.missing)} "
            f"parameters are missing (listed above); {out} is not written without --partial"
        )
    save_checkpoint(out, checkpoint)
    click.echo(f"{out}: strides in {checkpoint.config.model.backbone.stride_in} convolutions")


@cli.command("check-data")
@click.argument("data")
def check_data(data: str) -> None:
    """Read all images and annotations of DATA and list what is wrong."""
    from detector.data import DataError, check_dataset, find_files, open_dataset

    files = {split: find_files(data, split) for split in ("train", "val")}
    splits = [split for split, found in files.items() if found is not None]
    if not splits:
        raise DataError(f"{data}: no annotations/instances_train.json nor instances_val.json")
    if files["train"] == files["val"]:
        splits = splits[:1]
    errors = 0
    for split in splits:
        dataset = open_dataset(data, split)
        problems = check_dataset(dataset)
        for problem in problems:
            click.echo(f"{problem.level}: {problem}")
        found = sum(problem.level == "error" for problem in problems)
        errors += found
        click.echo(
            f"{dataset.annotation_file}: {len(dataset)} images, {len(dataset.annotations)} "
            f"annotations, {len(dataset.categories)} categories, {found} errors"
        )
    if errors:
        sys.exit(1)


@cli.command()
@click.option(
    "--size", type=int, nargs=2, default=(480, 640), show_default=True, metavar="HEIGHT WIDTH"
)
@click.option("--short-edge", type=click.IntRange(32), default=800, show_default=True)
@click.option("--turns", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of torch and roiops.")
def bench(size: tuple[int, int], short_edge: int, turns: int, threads: int | None) -> None:
    """Time this against torchvision's maskrcnn_resnet50_fpn on the CPU.

    The same random weights, image, process and threads, by turns. Results are masks of the image's
    size: there as pixels, here as run lengths.
    """
    import torch
    from rich.console import Console

    import roiops
    from detector.bench import BenchError, compare, print_comparison

    if threads is not None:
        torch.set_num_threads(threads)
        roiops.set_num_threads(threads)
    try:
        comparison = compare(size, short_edge, turns)
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    print_comparison(comparison, Console(highlight=False))


@cli.command()
@click.option("--out", type=FILE, help="Folder to write to.  [default: runs/nuclei_demo]")
@device_option
def demo(out: Path | None, device_name: str) -> None:
    """Train on the embedded microscope images, in about three minutes on two cores."""
    from detector.demo import free_folder, run_demo
    from detector.train import Interrupted

    try:
        run_demo(out or free_folder(), _device(device_name))
    except Interrupted as stop:
        _say_how_to_resume(stop, device_name)


def main() -> None:
    # Read when torch loads. Threads that spin while they wait for each other make a training ten
    # times slower as soon as another program uses one of the processors; sleeping costs little.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cli(prog_name="python -m detector")


def _device(name: str) -> torch.device:
    import torch

    import roiops

    # The model runs where its operators run, whatever else torch could use.
    usable = [kind for kind in ("cuda", "cpu") if kind in roiops.backends()]
    if name == "auto":
        name = "cuda" if "cuda" in usable and torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in usable:
        raise click.ClickException(
            f"device must be {' or '.join(usable)} (the backends of this build of roiops); "
            f"got {name!r}"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise click.ClickException(f"device {name!r} cannot be used: {reason}") from None
    return device


def _say_how_to_resume(stop: Exception, device_name: str) -> None:
    from detector.train import Interrupted

    assert isinstance(stop, Interrupted)
    arguments: list[str | Path] = ["train", "--resume", "--out", stop.folder.path]
    if device_name != "auto":
        arguments += ["--device", device_name]
    click.echo(f"{stop}; continue with\n  {command_line(*arguments)}")
    sys.exit(INTERRUPTED)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what is called with (done, total)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
