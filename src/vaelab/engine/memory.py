"""How much memory there is, asked before much is taken: a process that takes too much is killed without a word."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from vaelab.errors import InputError

COPIES = 7  # of a member's parameters: these, their average, the best, the gradient, two moments, and the new ones
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def total(device: torch.device) -> float:
    """Bytes of memory of a device, or of this machine as far as this process may use it; infinite where unknown."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    try:
        found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # another system
        return float("inf")
    limit = LIMIT.read_text().strip() if LIMIT.is_file() else "max"
    return min(found, float(limit)) if limit.isdigit() else found


def check_parameters(parameters: int, members: int, device: torch.device) -> None:
    """Refuse to train networks that cannot be held, with all that training keeps of them in single precision.

    >>> check_parameters(10**6, 1, torch.device("cpu"))
    """
    needed, there = 4.0 * COPIES * parameters * members, total(device)
    if needed > there:
        each = f"{members} networks of {parameters:,} parameters each" if members > 1 else f"{parameters:,} parameters"
        raise InputError(
            f"training {each} takes at least {needed / 2**30:,.0f} GiB, but there are {there / 2**30:,.0f} GiB of "
            "memory; use fewer or narrower layers (`hidden`)."
        )
