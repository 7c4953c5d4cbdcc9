"""What a process of ours asks of the machine: one thread, and memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import torch


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for the next tensors, for this process's life; glibc only.

    It would hand large blocks back to the system after every operation, and a training step would spend a tenth of its
    time on getting them again. Called by processes that are ours: the command line and the workers.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 28)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for PyTorch: results do not depend on their number, and neighbours do not stall each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
