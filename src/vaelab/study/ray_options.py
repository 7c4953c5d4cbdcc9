"""A Ray cluster as the place where a study's workers run. Imports neither ray nor torch."""

from __future__ import annotations

import dataclasses
import importlib.util
import math

from vaelab.errors import InputError, shown


@dataclasses.dataclass(frozen=True)
class Ray:
    """Workers on the nodes of a Ray cluster, instead of processes of this machine. They do not change results.

    address: of the cluster, such as 10.0.0.1:6379 or ray://10.0.0.1:10001; "auto" is the cluster of this machine, or
        that of RAY_ADDRESS.
    cpus_per_worker: cores that Ray keeps for a worker, which computes with one of them.
    gpus_per_worker: GPUs of each, or a share: with 0.25, four workers share one.

    >>> Ray("auto", gpus_per_worker=0.25).resources
    {'CPU': 1, 'GPU': 0.25}
    """

    address: str = "auto"
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        for name, least in ("cpus_per_worker", "more than 0"), ("gpus_per_worker", "at least 0"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"`{name}` must be a number, but got {shown(value)}.")
            if not (math.isfinite(value) and value >= 0) or (value == 0 and least == "more than 0"):
                raise InputError(f"`{name}` must be {least}, but got {value:g}.")
            if value > 1 and value != int(value):
                raise InputError(f"`{name}` above 1 must be a whole number, as Ray wants it, but got {value:g}.")
        if not isinstance(self.address, str):
            raise InputError(f"`ray` must be the address of a cluster as text, but got {shown(self.address)}.")
        if not self.address.strip():
            raise InputError("`ray` must be the address of a cluster, or auto, but got ''.")
        if importlib.util.find_spec("ray") is None:
            raise InputError("`ray` needs the package ray, which is not installed; pip install 'vaelab[ray]'.")

    @property
    def resources(self) -> dict[str, float]:
        """What a worker needs, by Ray's names."""
        return {"CPU": self.cpus_per_worker, **({"GPU": self.gpus_per_worker} if self.gpus_per_worker else {})}

    def check_device(self, device: str) -> None:
        """InputError unless workers have a GPU exactly if models are to be trained on one."""
        if device not in ("cpu", "cuda"):
            raise InputError(
                f"with `ray`, `device` must be cpu or cuda, but got {device}: Ray gives workers their GPUs."
            )
        if device == "cuda" and not self.gpus_per_worker:
            raise InputError("`device` = cuda needs `gpus_per_worker`, such as 1 or 0.25; give it, or use device=cpu.")
        if device == "cpu" and self.gpus_per_worker:
            raise InputError(
                f"`gpus_per_worker` = {self.gpus_per_worker:g} needs `device` = cuda, also here, where models are "
                "judged; start it on a node with a GPU, or leave `gpus_per_worker` out."
            )

    def fits(self, available: dict[str, float]) -> int:
        """How many workers these resources are enough for.

        >>> Ray(gpus_per_worker=0.25).fits({"CPU": 16, "GPU": 2, "memory": 1e9})
        8
        """
        return min(math.floor(available.get(name, 0) / each + 1e-9) for name, each in self.resources.items())
