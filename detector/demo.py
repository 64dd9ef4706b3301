"""The demonstration: trains a small Mask R-CNN on the embedded nuclei and shows what it learnt."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import torch
from rich.console import Console

from detector.checkpoint import load_model
from detector.command import command_line, shortest
from detector.data import nuclei_path, open_dataset
from detector.predict import detect
from detector.presets import NUCLEI_DEMO
from detector.train import train
from detector.visualize import overview

PICTURE_SCORE = 0.5
"""Detections below it are left out of the picture, as `predict` does by default."""


def free_folder() -> Path:
    """runs/nuclei_demo, or the first runs/nuclei_demo-2, -3, … that does not exist."""
    names = (f"nuclei_demo-{n}" if n > 1 else "nuclei_demo" for n in count(1))
    return next(path for name in names if not (path := Path("runs") / name).exists())


def run_demo(out: Path, device: torch.device) -> None:
    """Trains, evaluates, writes OUT/overview.jpg, and says what to do next."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"Training a small Mask R-CNN from scratch on 40 microscope images; results in {out}"
    )
    started = time.perf_counter()
    train(NUCLEI_DEMO, out, device=device)
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    picture = out / "overview.jpg"
    draw_overview(out / "last.pt", picture, device)
    console.print(f"\nTrained and evaluated in {minutes} min {seconds} s.")
    console.print(f"Annotated and predicted nuclei side by side: [bold]{shortest(picture)}[/bold]")
    console.print("\n" + next_steps(out), markup=False)


def draw_overview(weights: Path, picture: Path, device: torch.device) -> None:
    """Annotated and predicted objects of all validation images of the checkpoint's data."""
    model, checkpoint = load_model(weights, device)
    dataset = open_dataset(checkpoint.config.data, "val", categories=checkpoint.categories)
    samples = [dataset[i] for i in range(len(dataset))]
    detections = [
        detect(model, sample.image, checkpoint.config.input, device, PICTURE_SCORE)
        for sample in samples
    ]
    overview(samples, detections, checkpoint.categories, picture)


def next_steps(out: Path) -> str:
    """What to try now, as commands that run as they stand."""
    weights = shortest(out / "last.pt")
    data = shortest(nuclei_path())
    image = sorted((data / "val").iterdir())[0]
    predict = command_line("predict", "--weights", weights, "--out", out / "pictures", image)
    own = command_line(
        "train", "--config", "nuclei_demo", "--data", f"coco:{data}", "--out", f"{out}-own"
    )
    return (
        "What next:\n"
        "  Find nuclei in your own image (put it in the place of the last argument):\n"
        f"    {predict}\n"
        "  Train on your own objects: put your folder after coco: (in it train/, val/,\n"
        "  annotations/instances_train.json and instances_val.json, as COCO has them).\n"
        "  --config photos_small is for colour photographs; --init CHECKPOINT reuses weights:\n"
        f"    {own}"
    )
