"""Crews: what one does, every other does, bit for bit; and what becomes of jobs whose workers and nodes are lost."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaelab
from mortal import DIES, DIES_ONCE, MARK, RAISES, TASK
from vaelab.api import studies
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError, StoreError
from vaelab.store.temporary import is_temporary
from vaelab.study import parcels
from vaelab.study.checkpoints import Checkpoint, Member
from vaelab.study.crew import Crew, WorkerDied
from vaelab.study.hire import hire
from vaelab.study.jobs import Job, Outcome
from vaelab.study.local_crew import gpu
from vaelab.study.ray_options import Ray
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

EPOCHS = 6


@pytest.fixture(scope="module")
def table() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(300, 5)), seed=0)


@pytest.fixture(scope="module")
def base(table: Dataset) -> Spec:
    given = {"hidden": "8", "latent_dim": 2, "device": "cpu", "epochs": EPOCHS, "batch_size": 50}
    return TASK.system("neg_elbo").resolve(Spec.create(**given), table)


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """Workers find the module `mortal`, and a file by which they know that one of them has died."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        mark = Path(folder) / "mark"
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]))
        patch.setenv(MARK, str(mark))
        yield mark


@pytest.fixture(scope="module")
def cluster(environment: Path) -> Iterator[Any]:
    """A Ray cluster of two nodes on this machine, with room for one worker each."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'vaelab[ray]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_enable_worker_prestart", "RAY_prestart_worker_first_driver"):
            patch.setenv(name, "0")
        small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_log_monitor": False}
        found = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
        found.add_node(**small)
        yield found
        ray.shutdown()  # before its nodes go: crews are dismissed after them
        found.shutdown()


CREWS = ("alone", "processes", "ray")


@pytest.fixture(scope="module")
def crews(
    table: Dataset, base: Spec, environment: Path, tmp_path_factory: pytest.TempPathFactory, request: Any
) -> Iterator[Any]:
    """A crew by name, hired when it is first asked for."""
    hired: dict[str, Crew] = {}

    def find(name: str) -> Crew:
        if name not in hired:
            where = Ray(request.getfixturevalue("cluster").address) if name == "ray" else None
            scratch = tmp_path_factory.mktemp(name)
            crew = hire(
                table, base, TASK, "neg_elbo", workers={"alone": 1, "processes": 2, "ray": None}[name], ray=where,
                scratch=scratch, note=lambda text: None,
            )  # fmt: skip
            hired[name] = crew.__enter__()
        return hired[name]

    yield find
    for crew in hired.values():
        crew.__exit__(None, None, None)


def members(base: Spec, *seeds: int) -> list[Member]:
    return [Member(f"m{seed}", base.replace(seed=seed, lr=1e-3 * (1 + seed % 7))) for seed in seeds]


def jobs_of(some: list[Member], until: int, work: Path, *, close: bool = False) -> list[Job]:
    """One job for every two members; one that is alone is drawn."""
    work.mkdir(exist_ok=True)
    pairs = [tuple(some[k : k + 2]) for k in range(0, len(some), 2)]
    return [
        Job(pair, until, str(work), folders={m.name: str(work / "runs" / m.name) for m in pair} if close else {},
            pictures=close and len(pair) == 1)
        for pair in pairs
    ]  # fmt: skip


def values(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """What must not depend on the crew: everything but seconds."""
    return {name: (o.value, o.epochs, o.failure, o.metrics) for name, o in outcomes.items()}


@pytest.fixture(scope="module")
def expected(table: Dataset, base: Spec, crews: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """What this process alone makes of three members: outcomes at a rung and at the end, and their folder."""
    crew, work = crews("alone"), tmp_path_factory.mktemp("expected") / "work"
    some = members(base, 0, 1, 2)
    rung = crew.run(jobs_of(some, 3, work), lambda *_: None)
    return values(rung), values(crew.run(jobs_of(some, EPOCHS, work, close=True), lambda *_: None)), work


def test_a_study_on_two_nodes_is_that_of_this_process(cluster: Any, table: Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {"settings": {"epochs": 12, "hidden": "16"}, "final_seeds": 2, "figures": "none"}
    found = {}
    for name, where in {"here": {"workers": 1}, "ray": {"ray": Ray(cluster.address)}}.items():
        space = {"latent_dim": (1, 4), "lr": (1e-4, 1e-1, "log")}
        study = studies.tune(table, space, 6, seed=1, out=tmp_path / name, **options, **where)
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in study.trials]
        found[name] = rows, study.results["finalists"], Fitted.load(study.folder / "best").row.tolist()
    assert found["ray"] == found["here"]


def test_a_comparison_on_two_nodes_is_that_of_this_process(cluster: Any, table: Dataset, tmp_path: Path) -> None:
    found = {}
    for name, where in {"here": {"workers": 1}, "ray": {"ray": Ray(cluster.address)}}.items():
        both = vaelab.compare(
            table, {"wide": {"hidden": "16"}, "narrow": {"hidden": "8", "epochs": 9}}, seeds=2, figures=False,
            settings={"epochs": 12, "latent_dim": 2}, out=tmp_path / name, **where,
        )  # fmt: skip
        rows = {model["name"]: (model["validation"], model["test"]) for model in both.results["models"]}
        weights = {label: [one.row.tolist() for one in runs] for label, runs in both.models.items()}
        found[name] = rows, weights, both.recommendation
    assert found["ray"] == found["here"]


@pytest.mark.parametrize("name", CREWS)
def test_every_crew_does_the_same_bit_for_bit(
    name: str, crews: Any, base: Spec, expected: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    crew, work, seen, some = crews(name), tmp_path / "work", [], members(base, 0, 1, 2)
    rung = crew.run(jobs_of(some, 3, work), lambda names, epoch: seen.append((tuple(names), epoch)))
    assert values(rung) == expected[0]
    assert {member for found, _ in seen for member in found} == {"m0", "m1", "m2"}
    for member in some:
        stored = Checkpoint.read(work, member)
        assert stored is not None
        assert stored.state.epoch == 3
        assert len(list(work.glob(f"{member.name}.*"))) == 1
    assert values(crew.run(jobs_of(some, EPOCHS, work, close=True), lambda *_: None)) == expected[1]
    assert crew.has_worked
    for member in some:
        run, other = work / "runs" / member.name, expected[2] / "runs" / member.name
        np.testing.assert_array_equal(Fitted.load(run).row, Fitted.load(other).row)
        files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        assert files == {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
    assert "figures/losses.png" in files  # of the last
    assert not list(work.rglob(".tmp-*"))


@pytest.mark.parametrize("name", CREWS)
def test_what_a_job_is_refused_for_is_one_line(name: str, crews: Any, base: Spec, tmp_path: Path) -> None:
    crew, work = crews(name), tmp_path / "work"
    (member,) = members(base, 3)
    crew.run(jobs_of([member], 1, work), lambda *_: None)
    other = Member(member.name, member.spec.replace(lr=0.5))
    with pytest.raises(StoreError, match=r"m3.checkpoint was begun with lr = 0.004 instead of 0.5; resume") as e:
        crew.run(jobs_of([other], 2, work), lambda *_: None)
    assert "\n" not in str(e.value)


def test_a_worker_that_is_killed_is_replaced_and_changes_nothing(
    crews: Any, base: Spec, environment: Path, tmp_path: Path
) -> None:
    found = {}
    for name in ("first", "second"):  # the second time nobody dies
        jobs = jobs_of(members(base, 1, DIES_ONCE), EPOCHS, tmp_path / name, close=True)
        found[name] = values(crews("processes").run(jobs, lambda *_: None))
    assert environment.exists()
    assert found["first"] == found["second"]


@pytest.mark.parametrize("name", CREWS[1:])
def test_a_job_that_raises_or_kills_every_worker_ends_the_study(
    name: str, crews: Any, base: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("crew", "ray_crew" if name == "ray" else "local_crew"):
        monkeypatch.setattr(f"vaelab.study.{module}.MAX_DEATHS", 2)  # each costs the seconds in which a worker begins
    crew = crews(name)
    with pytest.raises(WorkerDied, match=rf"died 2 times in a row \(.*\) while training m{DIES}; if memory"):
        crew.run(jobs_of(members(base, DIES), EPOCHS, tmp_path / "dies", close=True), lambda *_: None)
    with pytest.raises(WorkerDied, match=rf"failed while training m{RAISES}: ArithmeticError: a seed that raises \(mo"):
        crew.run(jobs_of(members(base, RAISES), EPOCHS, tmp_path / "raises", close=True), lambda *_: None)


def test_a_lost_node_costs_no_job_and_changes_nothing(
    cluster: Any, crews: Any, base: Spec, expected: tuple[Any, Any, Path], tmp_path: Path
) -> None:
    """Its job goes to the other node."""
    crew, lost = crews("ray"), []

    def progress(names: Any, epoch: int) -> None:
        if not lost:
            lost.extend(cluster.worker_nodes)
            cluster.remove_node(lost[0], allow_graceful=False)

    some = members(base, 0, 1, 2)
    assert values(crew.run(jobs_of(some, EPOCHS, tmp_path / "work", close=True), progress)) == expected[1]
    assert len(lost) == 1


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus_per_worker": 0}, "`cpus_per_worker` must be more than 0, but got 0."),
        ({"gpus_per_worker": -1}, "`gpus_per_worker` must be at least 0, but got -1."),
        ({"gpus_per_worker": float("nan")}, "must be at least 0, but got nan."),
        ({"gpus_per_worker": 1.5}, "above 1 must be a whole number"),
        ({"address": " "}, "must be the address of a cluster, or auto"),
    ],
)
def test_what_ray_cannot_give_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ray(**options)


@pytest.mark.usefixtures("with_ray")
def test_workers_have_gpus_exactly_if_models_need_them() -> None:
    Ray().check_device("cpu")
    Ray(gpus_per_worker=0.25).check_device("cuda")
    for where, device, message in (
        (Ray(), "cuda", "needs `gpus_per_worker`"),
        (Ray(gpus_per_worker=1), "cpu", "needs `device` = cuda"),
        (Ray(gpus_per_worker=1), "cuda:1", "must be cpu or cuda, but got cuda:1"),
    ):
        with pytest.raises(InputError, match=message):
            where.check_device(device)


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed; pip install 'vaelab\[ray\]'"):
        Ray()


def test_every_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    given = [gpu("cuda", number).get("CUDA_VISIBLE_DEVICES") for number in range(5)]
    assert given == ["0", "1", "2", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [gpu("cuda", number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["4", "7", "4"]


def test_one_gpu_a_chosen_one_and_none_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert gpu("cuda:1", 0) == gpu("cpu", 0) == {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert gpu("cuda", 0) == {}


def test_a_folder_that_was_being_unpacked_by_the_dead_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(parcels, "write_new", lambda path, _: seen.append(is_temporary(path.parent.name)))
    parcels.unpack_folder({"model.json": b"{}"}, tmp_path / "run")
    assert seen == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
