"""What is to be reached: how many times as fast as the peer, float32, one thread, and how far a
prototype of the kernel alone came."""

from __future__ import annotations

AIMS: dict[str, tuple[float | None, float]] = {
    # case: (prototype, aim)
    "roi_align C4": (19, 10),
    "roi_align C4 backward": (60, 50),
    "box head": (11, 15),
    "mask head": (17, 18),
    "box head backward": (37, 40),
    "roi_pool C4": (2.8, 5),
    "roi_pool C4 backward": (3.3, 5),
    "nms 1k": (13, 12),
    "nms 6k": (60, 50),
    "nms 12k": (80, 80),
    "batched_nms 5 levels": (19, 20),
    "batched_nms 80 classes": (29, 20),
    "box_iou 1000 x 1001": (31, 25),
    "RPN matching": (78, 60),
    "RPN decoding": (14, 10),
    "RPN anchors": (14, 12),
    "paste 100 masks as RLE": (120, 100),
    "soft_nms 1k": (50, 40),
    "soft_nms 4k": (31, 40),
}
