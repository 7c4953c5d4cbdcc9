"""Process settings: one thread, and no release of freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import threadpoolctl
import torch


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for later tensors, for the lifetime of this process; glibc only.

    By default it returns large blocks to the system after every operation, and a training step spends a tenth of its
    time on reallocating them. Called only by our own processes: the command line and the workers.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 28)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for PyTorch and BLAS: results do not depend on their number, and workers do not stall each other.

    Nor do they depend on what the caller has set in PyTorch: its default type and device, and whether gradients are on.
    """
    threads, kind, device = torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    if device.type != "cpu":
        torch.set_default_device(None)  # a device that is set, even this one, costs microseconds per operation
    try:
        with threadpoolctl.threadpool_limits(1, "blas"), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        if device.type != "cpu":
            torch.set_default_device(device)
