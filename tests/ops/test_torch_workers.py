"""Operators in other processes and threads, and copies of modules."""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch_cases import assert_same

import roiops

torch = pytest.importorskip("torch")


class Targets(torch.utils.data.Dataset):
    """Makes training targets as a loader's workers do."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        generator = torch.Generator().manual_seed(index)
        low = torch.rand(200, 2, generator=generator) * 50
        boxes = torch.cat([low, low + 20], 1)
        keep = roiops.nms(boxes, torch.rand(200, generator=generator), 0.5)[:20]
        matched, labels, _ = roiops.match_boxes(boxes[keep], boxes, 0.7, 0.3)
        features = torch.randn(1, 32, 40, 40, generator=generator)
        pooled = roiops.roi_align(features, [boxes[keep]], 5)
        return keep, matched, labels, pooled


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_workers(start: str) -> None:
    expected = [Targets()[i] for i in range(6)]  # the parent's threads are running when it forks
    loader = torch.utils.data.DataLoader(
        Targets(), batch_size=None, num_workers=2, multiprocessing_context=start, timeout=120
    )
    assert_same(list(loader), expected)


def test_threads_call_at_once() -> None:
    def step(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed % 4)
        features = torch.randn(1, 40, 30, 30, generator=generator).requires_grad_()
        low = torch.rand(60, 2, generator=generator) * 20
        boxes = torch.cat([low, low + 7], 1).requires_grad_()
        roiops.roi_align(features, [boxes], 7).square().sum().backward()
        return features.grad, boxes.grad, roiops.nms(boxes.detach(), boxes.detach()[:, 0], 0.3)

    expected = [step(seed) for seed in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for seed, got in enumerate(pool.map(step, range(32))):
            assert_same(got, expected[seed % 4])


def test_modules_are_copied_as_they_are() -> None:
    pool = copy.deepcopy(roiops.RoIAlign(2, 1.0, 2, aligned=True))
    features, rois = torch.randn(1, 2, 6, 6), torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    traced = copy.deepcopy(torch.fx.symbolic_trace(pool))
    assert_same(traced(features, rois), pool(features, rois))
