"""The options that say where a study or a comparison runs: they change no result. --help imports nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from typer import Option

from vaelab.cli.reading import OptionGroup
from vaelab.errors import InputError
from vaelab.study.ray_options import Ray
from vaelab.study.storage import Storage


@dataclasses.dataclass(frozen=True)
class WorkerOptions(OptionGroup):
    """Workers, on this machine or on the nodes of a Ray cluster."""

    workers: Annotated[
        int | None,
        Option("--workers", help="single-threaded worker processes; default: one per core, or as Ray has room for"),
    ] = None
    ray: Annotated[
        str | None,
        Option(
            "--ray", metavar="ADDRESS|auto",
            help="put the workers on the nodes of this Ray cluster; auto: that of RAY_ADDRESS, or of this machine",
        ),
    ] = None  # fmt: skip
    cpus_per_worker: Annotated[
        float | None, Option("--cpus-per-worker", help="cores that Ray keeps for each worker; default: 1")
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        Option("--gpus-per-worker", help="GPUs that Ray gives each worker, or a share, such as 0.25"),
    ] = None

    @property
    def cluster(self) -> Ray | None:
        """The Ray cluster, if one is given."""
        named = {"cpus_per_worker": self.cpus_per_worker, "gpus_per_worker": self.gpus_per_worker}
        given = {name: value for name, value in named.items() if value is not None}
        if self.ray is not None:
            return Ray(self.ray, **given)
        if given:
            option = "--" + next(iter(given)).replace("_", "-")
            raise InputError(f"{option} is for workers on a Ray cluster; give --ray too, or leave it out.")
        return None


@dataclasses.dataclass(frozen=True)
class MachineOptions(WorkerOptions):
    """Workers, and a database that mirrors the study."""

    storage: Annotated[
        str | None,
        Option(
            "--storage", metavar="postgresql://...",
            help="also write the study into this database, for optuna-dashboard; the password may be left to "
            "PGPASSWORD or ~/.pgpass",
        ),
    ] = None  # fmt: skip
    study_name: Annotated[
        str | None, Option("--study-name", help="name of the study in --storage; default: that of its folder")
    ] = None

    @property
    def database(self) -> Storage | None:
        """Where the study is mirrored."""
        if self.storage is not None:
            return Storage(self.storage, self.study_name)
        if self.study_name is not None:
            raise InputError("--study-name is the study's name in --storage; give that too, or leave it out.")
        return None


HERE, WORKERS = MachineOptions(), WorkerOptions()
