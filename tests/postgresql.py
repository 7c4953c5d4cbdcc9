"""A PostgreSQL server of one's own, and what a study's mirror in it holds: for tests and benchmarks/mirror.py."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from vaelab.study.storage import Storage

PASSWORD = "s3cret word"


class Server:
    """A PostgreSQL server in a temporary folder."""

    def __init__(self, folder: Path, programs: str):
        self.folder, self.programs = folder, programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://ann:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres"
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        self._run("initdb", "-D", str(folder / "db"), "-U", "ann", "-A", "scram-sha-256", "--pwfile", str(secret), "-N")

    def _run(self, program: str, *arguments: str) -> None:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        command = [*as_user, f"{self.programs}/{program}", *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=60)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", str(self.folder / "db"), "-l", str(self.folder / "log"), "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "db"), "-w", "-m", "immediate", "stop")


@contextlib.contextmanager
def a_server() -> Iterator[Server]:
    """A server that runs; FileNotFoundError where PostgreSQL is not installed."""
    found = [*sorted(glob.glob("/usr/lib/postgresql/*/bin")), os.path.dirname(shutil.which("initdb") or "")]
    if not found[0]:
        raise FileNotFoundError("needs a PostgreSQL server: apt-get install postgresql")
    with tempfile.TemporaryDirectory() as folder:  # that the server's own user can enter, unlike pytest's
        running = Server(Path(folder), found[0])
        running.start()
        yield running
        with contextlib.suppress(subprocess.CalledProcessError):
            running.stop()


def content(found: list[FrozenTrial]) -> list[Any]:
    return [
        (t.number, t.state, t.params, t.distributions, t.values, t.intermediate_values, t.user_attrs, t.constraints)
        for t in found
    ]


def mirrored(server: Server, name: str) -> list[Any]:
    storage = optuna.storages.RDBStorage(Storage(server.url).full)
    try:
        return content(optuna.load_study(study_name=name, storage=storage).trials)
    finally:
        storage.remove_session()
        storage.remove_session()
        storage.engine.dispose()
