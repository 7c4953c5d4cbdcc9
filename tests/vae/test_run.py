"""`train`: one model into a run folder, stopped and resumed, refused where something would be lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from commands import start, vaelab
from pages import Page
from vaelab import use
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError, TrainingFailed
from vaelab.study import jobs
from vaelab.study.jobs import Outcome
from vaelab.vae import run as runs
from vaelab.vae.fitted import Fitted
from vaelab.vae.run import TrainedRun, train
from vaelab.vae.spec import Spec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

SPEC = Spec(latent_dim=3, hidden=(24,), epochs=8, dropout=0.1)


class Stopped(Exception):
    pass


def stop_at(epoch: int):
    def progress(done: int) -> None:
        if done == epoch:
            raise Stopped

    return progress


@pytest.fixture(scope="module")
def whole(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return train(digits, SPEC, out=tmp_path_factory.mktemp("runs") / "whole", figures=False)


@pytest.mark.parametrize("epoch", [1, 4, 7])
def test_a_stopped_run_resumes_bit_for_bit(
    whole: TrainedRun, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    monkeypatch.setattr(jobs, "CHECKPOINT_SECONDS", 0.0)
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        train(digits, SPEC, out=out, figures=False, progress=stop_at(epoch + 1))
    assert not out.exists()
    assert len(list(tmp_path.glob("run.partial/**/*.checkpoint"))) == 1, "only the last checkpoint is kept"
    with pytest.raises(InputError, match="was interrupted; `vaelab train --resume "):
        train(digits, SPEC, out=out)
    epochs: list[int] = []
    run = train(digits, SPEC, out=out, figures=False, resume=True, progress=epochs.append)
    assert epochs[0] == epoch + 1
    assert run.history == whole.history
    assert (out / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    assert not out.with_name("run.partial").exists()


def test_a_killed_run_resumes_bit_for_bit(whole: TrainedRun, tmp_path: Path) -> None:
    settings = ["latent_dim=3", "hidden=24", "epochs=8", "dropout=0.1"]
    arguments = ["train", "digits", *(part for s in settings for part in ("--set", s)), "--out", str(tmp_path / "run")]
    process = start(arguments, code="from vaelab.study import jobs\njobs.CHECKPOINT_SECONDS = 0.0")
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("run.partial/*.checkpoint")):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.join()
    done = vaelab(["train", "--resume", "run", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["validation"]["neg_elbo"] == whole.metrics["validation"]["neg_elbo"]
    resumed, undisturbed = (tmp_path / "run" / "model.safetensors", whole.folder / "model.safetensors")
    assert resumed.read_bytes() == undisturbed.read_bytes()


def test_the_run_holds_what_was_asked_and_counts_the_test_split(digits: Dataset, tmp_path: Path) -> None:
    run = train(digits, SPEC.replace(epochs=2), out=tmp_path / "run", open_test=True)
    assert run.metrics["test_opened"] == 1
    assert run.metrics["test"]["neg_elbo"] == pytest.approx(-run.model.score_samples(digits.rows("test"), 64).mean())
    assert sorted(p.name for p in (run.folder / "figures").iterdir()) == [
        "latent.png", "losses.png", "reconstructions.png", "samples.png",
    ]  # fmt: skip
    assert (run.folder / "report.html").exists()
    loaded = Fitted.load(run.folder)
    assert np.array_equal(loaded.encode(digits.x[:5])[0], run.model.encode(digits.x[:5])[0])
    with pytest.raises(InputError, match="`overwrite` "):
        train(digits, SPEC, out=run.folder)
    assert Fitted.load(run.folder).spec.epochs == 2


def test_the_best_of_several_starts_is_what_its_seed_alone_gives(digits: Dataset, tmp_path: Path) -> None:
    spec = SPEC.replace(epochs=3, seed=5)
    run = train(digits, spec, starts=3, out=tmp_path / "best", figures=False)
    alone = [train(digits, spec.replace(seed=5 + i), out=tmp_path / str(i), figures=False) for i in range(3)]
    values = [one.metrics["validation"]["neg_elbo"] for one in alone]
    best = int(np.argmin(values))
    assert len(set(values)) == 3
    assert run.metrics["starts"] == [
        {"seed": 5 + i, "neg_elbo": value, "kept": i == best} for i, value in enumerate(values)
    ]
    assert run.model.spec == alone[best].model.spec
    assert (run.folder / "model.safetensors").read_bytes() == (alone[best].folder / "model.safetensors").read_bytes()
    assert run.metrics["test_opened"] == 0
    page = Page((run.folder / "report.html").read_text())
    assert [row[1]["data-value"] for row in page.rows("Starts")[1:]] == [str(value) for value in values]
    assert f"seed {5 + best} was kept" in page.text
    assert "was kept" not in Page((alone[0].folder / "report.html").read_text()).text
    outcomes = [Outcome("a", None, 0.0, 1, "it diverged"), Outcome("b", 2.0, 0.0, 3), Outcome("c", 1.0, 0.0, 3)]
    assert runs._best(outcomes) == 2
    with pytest.raises(InputError, match="`starts` must be a whole number from 1 to 1,000, but got 0"):
        train(digits, spec, starts=0, out=tmp_path / "none")


def test_a_diverging_run_says_so_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    data = from_arrays(np.random.default_rng(0).normal(size=(200, 4)))
    wild = Spec(lr=100.0, optimizer="sgd", schedule="constant", epochs=3)
    with pytest.raises(TrainingFailed, match="non-finite"):
        train(data, wild, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "huber"])
def test_a_table_goes_through_every_density_in_its_own_units(tmp_path: Path, likelihood: str) -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(600, 2))
    x = z @ rng.normal(size=(2, 5)) * [1, 10, 100, 1000, 1] + [0, 5, -50, 1e4, 0] + 0.3 * rng.normal(size=(600, 5))
    data = from_arrays(np.column_stack([x, np.full(600, 7.0)]))
    run = train(data, Spec(latent_dim=2, likelihood=likelihood, epochs=15), out=tmp_path / "run")
    back = run.model.reconstruct(data.x)
    assert np.all(back[:, 5] == 7)
    share = ((back - data.x)[:, :5] ** 2).mean(0) / data.x[:, :5].var(0)
    assert (share < 0.5).all()
    assert run.metrics["validation"]["verdict"] == "ok"
    assert run.metrics["validation"]["neg_elbo"] < run.metrics["reference"]["no_latents"]


def test_evaluate_judges_all_rows_of_other_data_as_encode_would_take_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    train(from_arrays(values, features=list("abcd")), SPEC.replace(hidden=(8,), epochs=2), out=tmp_path / "run")
    model = use.load(tmp_path / "run")
    lines = ["extra,d,c,b,a", *(",".join(map(str, [i, *row[::-1]])) for i, row in enumerate(values))]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    data = use.other_data(model, str(tmp_path / "new.csv"))
    found = use.evaluate(model, data, "validation", k=4)
    assert found["examples"] == 60
    assert found["neg_elbo"] == pytest.approx(-model.score_samples(values, 64).mean(), rel=1e-5)
    np.save(tmp_path / "wide.npy", np.ones((5, 7)))
    with pytest.raises(InputError, match="trained on 4 features"):
        use.other_data(model, str(tmp_path / "wide.npy"))


def test_the_pace_decides_the_epochs_that_fill_the_time(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are recorded, trained to the end of their schedule; as many again give the same model."""
    said: list[str] = []
    spec = Spec(latent_dim=2, hidden=(16,), seed=3)
    measured = runs.pace
    seen: list[tuple[float, float]] = []
    # Of a machine on which an epoch takes 200 s, a time that no neighbour can blur.
    monkeypatch.setattr(runs, "pace", lambda stack: seen.append(measured(stack)) or (200.0, 0.01))
    run = train(digits, spec, out=tmp_path / "timed", figures=False, timeout=2500, note=said.append)
    epochs = run.model.spec.epochs
    judging = 0.01 * (64 * len(digits.splits["validation"]) + len(digits.splits["train"]))
    assert epochs == int(0.95 * (2500 - judging - 1) / 200)
    assert all(figure > 0 for figure in seen[0])
    assert len(run.history) == epochs
    assert f"to reproduce, set epochs = {epochs} and patience = 0.5." in said[0]
    again = train(digits, spec.replace(epochs=epochs, patience=0.5), out=tmp_path / "again", figures=False)
    assert np.array_equal(again.model.row, run.model.row)


def test_epochs_that_were_set_end_at_the_time_with_the_best(digits: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    spec = Spec(latent_dim=2, hidden=(16,), epochs=100_000, schedule="constant")
    run = train(digits, spec, out=tmp_path / "run", figures=False, timeout=1, note=said.append)
    assert 1 <= len(run.history) < 100_000
    assert run.model.spec.epochs == 100_000
    best = max(row["epoch"] for row in run.history if row["is_best"])
    assert said == [f"training ended after epoch {len(run.history)} of at most 100000; epoch {best} is kept."]
    assert any(row["is_best"] for row in run.history)
    with pytest.raises(InputError, match="`timeout` must be a positive number of seconds, but got 0"):
        train(digits, spec, out=tmp_path / "none", timeout=0)


def test_ctrl_c_says_how_to_resume(digits: Dataset, tmp_path: Path) -> None:
    def pressed(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "a run"
    with pytest.raises(KeyboardInterrupt) as raised:
        train(digits, SPEC, out=out, figures=False, progress=pressed)
    how = f"`vaelab train --resume '{out}'`"
    assert raised.value.__notes__ == [f"interrupted; what was done so far is kept, and {how} continues."]
    with pytest.raises(InputError, match=f"was interrupted; {how} continues it, or `overwrite` it"):
        train(digits, SPEC, out=out)
