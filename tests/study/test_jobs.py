"""Jobs whose members end at different epochs: by early stopping, alone and in a stack, at a rung and at the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vaelab.data import Dataset, from_arrays
from vaelab.engine import training
from vaelab.study import jobs
from vaelab.study.checkpoints import Checkpoint, Member
from vaelab.study.jobs import Job
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem

SYSTEM = VAESystem()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STALLED_STEPS", 20)


@pytest.fixture(scope="module")
def table() -> Dataset:
    """Few rows without structure, which a large learning rate soon overfits."""
    return from_arrays(np.random.default_rng(0).normal(size=(60, 4)), seed=0)


def members(table: Dataset, **settings: object) -> list[Member]:
    given = {"hidden": "32", "latent_dim": 2, "device": "cpu", "epochs": 200, "patience": 0.5, **settings}
    specs = [Spec.create(**given, lr=lr, seed=k) for k, lr in enumerate((3e-2, 1e-4, 1e-2))]
    return [Member(f"m{k}", SYSTEM.resolve(spec, table)) for k, spec in enumerate(specs)]


def run(table: Dataset, some: list[Member], until: int, work: Path, *, close: bool) -> dict[str, jobs.Outcome]:
    work.mkdir(exist_ok=True)
    folders = {m.name: str(work / "runs" / m.name) for m in some} if close else {}
    job = Job(tuple(some), until, str(work), folders=folders)
    return {o.name: o for o in jobs.run(job, SYSTEM, SYSTEM.feed(table, some[0].spec), lambda *_: None)}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_members_stop_when_they_stall_and_are_what_they_are_alone(table: Dataset, tmp_path: Path, engine: str) -> None:
    three = members(table, engine=engine)
    together = run(table, three, 200, tmp_path / "together", close=True)
    epochs = [together[m.name].epochs for m in three]
    assert epochs[0] < 200
    assert epochs[1] == 200  # so slow that it still improves
    for member in three:
        alone = run(table, [member], 200, tmp_path / member.name, close=True)[member.name]
        assert (alone.value, alone.epochs) == (together[member.name].value, together[member.name].epochs)
        runs = [Fitted.load(tmp_path / place / "runs" / member.name) for place in ("together", member.name)]
        np.testing.assert_array_equal(runs[0].row, runs[1].row)
        history = (tmp_path / "together" / "runs" / member.name / "history.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in history]
        best = max(record["epoch"] for record in records if record["is_best"])
        assert records[-1]["epoch"] == alone.epochs
        if alone.epochs < 200:  # half as many epochs again without a better one, and no more
            assert best * 1.5 < alone.epochs <= max(best * 1.5, 20) + 1


def test_what_stalled_before_a_rung_is_judged_there_and_not_trained_again(table: Dataset, tmp_path: Path) -> None:
    three = members(table)
    whole = run(table, three, 200, tmp_path / "whole", close=True)
    ends = whole["m0"].epochs
    assert ends < 150
    rung = run(table, three, 150, tmp_path / "parts", close=False)
    assert (rung["m0"].epochs, rung["m1"].epochs) == (ends, 150)
    stored = Checkpoint.read(tmp_path / "parts", three[0])
    assert stored is not None
    assert stored.has_stalled
    best = min(row["validation"]["neg_elbo"] for row in stored.history)
    assert rung["m0"].value == best  # by the weights that are kept
    again = run(table, three, 150, tmp_path / "parts", close=False)
    assert {n: (o.value, o.epochs) for n, o in again.items()} == {n: (o.value, o.epochs) for n, o in rung.items()}
    last = run(table, three, 200, tmp_path / "parts", close=True)
    assert {n: (o.value, o.epochs) for n, o in last.items()} == {n: (o.value, o.epochs) for n, o in whole.items()}


def test_given_epochs_are_obeyed_and_a_planned_schedule_is_not_cut(table: Dataset, tmp_path: Path) -> None:
    for name, settings in {"given": {"patience": "auto"}, "planned": {"schedule": "one-cycle"}}.items():
        assert run(table, members(table, **settings), 200, tmp_path / name, close=True)["m0"].epochs == 200
