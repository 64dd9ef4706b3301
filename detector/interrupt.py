"""Ctrl-C between two iterations instead of within one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C only sets what the yielded function returns; a second one acts.

    In another thread than the main one, where Python allows no signal handlers, nothing changes.
    """
    interrupted = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        # Not print: a handler may run in the middle of another write to the same stream.
        os.write(sys.__stderr__.fileno(), b"\nstopping after this iteration; again to stop now\n")
        signal.signal(signal.SIGINT, previous)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
