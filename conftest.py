"""Data for the tests: the large sets are used where VAELAB_DATA names a folder that holds them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

# Before torch is imported, also by the processes that tests start: two test processes with as many threads as there are
# cores wait for each other, and products of several threads round otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

from commands import ForkedWorker, without_rights
from pictures import blank
from vaelab.classifier.learning import Discriminative
from vaelab.data import Dataset, load
from vaelab.engine import fused
from vaelab.inverse import flow
from vaelab.regressor.learning import Regression
from vaelab.study import local_crew
from vaelab.supervised import baselines as simpler
from vaelab.vae import baselines
from vaelab.vae.learning import Variational

SOURCE = Path(__file__).parent / "src"

torch.set_num_threads(1)
for method in (Variational, Discriminative, Regression):
    fused.prepare(method.kernels)  # before modules that hold kernels are collected
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job; processes of tests would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _data_folder(name: str) -> Path:
    folder = os.environ.get("VAELAB_DATA")
    if folder and (Path(folder) / name).is_dir():
        return Path(folder)
    reason = f"needs {name}: set VAELAB_DATA to the folder that holds {name}/"
    if os.environ.get("VAELAB_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def short_reference(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fewer steps for the linear VAE beside which a run is put, no simpler classifiers of pictures, and shallow flows,
    few of them: they would take longer than the run itself. Modules whose subject they are ask for the
    `whole_reference`. Pictures of examples in docstrings are blank.
    """
    if request.node.get_closest_marker("whole_reference"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "STEPS", 200)
        patch.setattr(simpler, "MOST_PIXELS", 16)
        patch.setattr(flow, "TRANSFORMS", 1)
        patch.setattr(flow, "FOLDS", 2)
        if request.path.is_relative_to(SOURCE):
            patch.setattr(Figure, "savefig", blank)
        yield


@pytest.fixture(scope="module")
def unrendered() -> Iterator[None]:
    """Pictures are composed, but saved blank: for modules that make many and look at none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", blank)
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> Iterator[None]:
    """Workers of studies in the tests' own process begin at once; those of commands that tests kill are real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_crew, "subprocess", SimpleNamespace(Popen=ForkedWorker, PIPE=None))
        yield


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    return load("mnist", data_dir=_data_folder("mnist"))


@pytest.fixture(scope="session")
def fashion_mnist() -> Dataset:
    return load("fashion_mnist", data_dir=_data_folder("fashion_mnist"))


@pytest.fixture(scope="session")
def tables() -> Path:
    """The folder of real tables, as published."""
    return _data_folder("tables") / "tables"


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that cannot be written."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    try:
        with without_rights():
            yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
