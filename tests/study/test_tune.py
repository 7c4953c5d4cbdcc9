"""What a study decides: who survives a rung, who wins, what it says when there is nothing to find."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from commands import vaelab
from vaelab.api import studies
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError
from vaelab.settings.space import Space
from vaelab.study import finals, tune
from vaelab.study.balance import Pace, stacks
from vaelab.study.checkpoints import Member
from vaelab.study.config import Config
from vaelab.study.jobs import Job
from vaelab.study.results import Study
from vaelab.study.rungs import rung_epochs, survivors
from vaelab.study.trials import importance, ranked
from vaelab.study.watch import Watch
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem
from vaelab.vae.task import TASK

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

figures = st.dictionaries(st.integers(0, 60), st.floats(-1e3, 1e3), min_size=1, max_size=20)


@given(
    st.dictionaries(st.integers(0, 60), st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1),
    st.lists(st.floats(-9, 9)),
    st.floats(-9, 9),
)
def test_survivors_may_still_reach_the_best_or_are_among_the_two_best(curves, earlier, best):
    """By hand: from epoch 10 to 20, and then twice more to 80."""
    rungs = [10, 13, 16, 20, 25, 32, 40, 50, 63]
    reports = {number: {10: a, 13: (a + b) / 2, 16: (a + b) / 2, 20: b} for number, (a, b) in curves.items()}
    kept = survivors(reports, rungs, 20, 80, best, earlier)
    everyone = [*earlier, *(b for _, b in curves.values())]
    for number, (a, b) in curves.items():
        least = b - 2 * max(0, a - b)
        if abs(least - best) > 1e-9:
            assert (number in kept) == (least < best or sum(other < b for other in everyone) < 2)
    assert survivors(reports, rungs, 16, 80, best, earlier) == sorted(reports)  # nothing is decided so early


def test_no_curve_that_flattens_is_pruned_if_it_wins():
    """a + b t^-c is convex on a logarithmic scale of steps."""
    rng = np.random.default_rng(0)
    rungs, end = rung_epochs(200, 40), 200
    for _ in range(50):
        a, b, c = rng.normal(size=30), rng.exponential(5, 30), rng.uniform(0.1, 1, 30)
        value = lambda n, t: a[n] + b[n] * t ** -c[n]  # noqa: E731, B023
        winner = min(range(30), key=lambda n: value(n, end))
        for rung in rungs:
            reports = {n: {r: value(n, r) for r in rungs if r <= rung} for n in range(30)}
            assert winner in survivors(reports, rungs, rung, end, min(own[rung] for own in reports.values()))


@given(st.integers(1, 500), st.integers(1, 600), st.integers(0, 50), st.integers(1, 5))
def test_no_rung_before_warm_up_ends_nor_before_200_steps_nor_at_the_last_epoch(epochs, steps, warmup, stride):
    rungs = rung_epochs(epochs, steps, warmup, stride)
    assert rungs == sorted(set(rungs))
    assert all(warmup < rung < epochs and rung % stride == 0 for rung in rungs)
    assert all((rung - warmup + stride / 2) * steps >= 200 for rung in rungs)


def decided(data: Dataset, settings: dict | None = None, **options: object) -> Config:
    """The configuration of a study whose space is left to the data."""
    return tune._decide(Config.create(TASK, None, settings or {}, **options), data, workers=1)


def finalist(number: int, values: list[float], parameters: int) -> finals.Finalist:
    runs, costs = tuple(Path(str(v)) for v in values), tuple((v,) for v in values)
    return finals.Finalist(number, Spec(), (min(values),), runs, costs, parameters)


def test_the_best_mean_wins_and_ties_within_a_standard_error_go_to_the_smaller_model():
    best = finalist(3, [10.0, 10.2, 10.4], 900)  # mean 10.2, standard error 0.2 / sqrt(3) = 0.115
    near, far = finalist(5, [10.3, 10.3, 10.3], 100), finalist(7, [10.4, 10.4, 10.4], 10)
    assert best.se == pytest.approx(0.2 / math.sqrt(3))
    assert finals.choose([best, far]).number == 3
    assert finals.choose([best, near, far]).number == 5
    lucky = finalist(9, [9.0], 50)  # its other seeds failed
    assert finals.choose([best, lucky, far]).number == 3


def test_noise_has_no_winner_and_the_study_says_so(tmp_path: Path):
    noise = from_arrays(np.random.default_rng(0).integers(0, 2, size=(300, 10)).astype(bool))
    settings = {"epochs": 3, "hidden": "16", "beta": 50.0}
    study = studies.tune(noise, {"latent_dim": (2, 4)}, 4, settings=settings, workers=1, out=tmp_path / "s")
    assert study.best is None
    assert {row["verdict"] for row in study.trials if row["state"] == "COMPLETE"} == {"collapsed"}
    complete = [row for row in study.trials if row["state"] == "COMPLETE"]
    (note,) = study.results["notes"]
    if len(complete) == 1:
        assert note.startswith("no shared structure was found: only 1 of 4 trials ran to completion, and it collapsed")
    else:
        assert note.startswith(f"no shared structure was found: {len(complete)} of 4 trials ran to completion and all")
    for row in complete:
        assert row["reason"].startswith("its rate, " if row["rate"] < 0.1 else "its neg_elbo is ")
    assert any(row["reason"] in note for row in complete)
    assert "no shared structure" in (tmp_path / "s" / "report.html").read_text()
    assert json.loads((tmp_path / "s" / "results.json").read_text())["best"] is None


@pytest.fixture(scope="module")
def study(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Study:
    space = {"latent_dim": (2, 8), "optimizer": ["adam", "rmsprop"], "lr": (1e-3, 1e-2, "log")}
    settings = {"epochs": 24, "hidden": "32"}
    out = tmp_path_factory.mktemp("tune") / "study"
    return studies.tune(digits, space, 8, settings=settings, workers=1, seed=3, final_seeds=2, out=out, figures="all")


def test_results_agree_with_what_lies_in_the_folder(study: Study, digits: Dataset):
    best, folder = study.results["best"], study.folder
    assert study.results["trials"]["total"] == len(study.trials) == 8
    loaded = Fitted.load(folder / "best")
    assert loaded.spec.model_dump(mode="json") == best["spec"]
    for split in "validation", "test":
        truth = -loaded.score_samples(digits.rows(split), 64).mean()
        assert best[split]["neg_elbo"] == pytest.approx(truth, rel=1e-5)
    values = [seed["validation"]["neg_elbo"] for seed in best["seeds"]]
    assert best["validation"]["neg_elbo"] == min(values)
    assert best["validation_mean"] == pytest.approx(np.mean(values))
    assert best["test_se"] == pytest.approx(
        np.std([s["test"]["neg_elbo"] for s in best["seeds"]], ddof=1) / math.sqrt(2)
    )
    assert json.loads((folder / "best" / "metrics.json").read_text())["test_opened"] == 1


def test_every_trial_left_its_pictures_named_by_number_and_latent_size(study: Study):
    for row in study.trials:
        folder = study.folder / row["folder"]
        assert folder.name == f"{row['number']:04d}-latent{row['spec']['latent_dim']}"
        names = sorted(path.name for path in (folder / "figures").iterdir())
        assert names == ["latent.png", "losses.png", "reconstructions.png", "samples.png"]
        assert Fitted.load(folder).spec.epochs == 24
    names = sorted(path.name for path in (study.folder / "figures").iterdir())
    assert names == ["history.png", "importance.png", "latent_size.png", "rungs.png"]


def test_pruned_trials_could_not_have_won(study: Study):
    """Retold from the table: the slope up to their last rung, and the best value of any trial by then."""
    rungs = rung_epochs(24, -(-1437 // 32))
    pruned = [row for row in study.trials if row["state"] == "PRUNED"]
    assert pruned
    assert study.trials[0]["state"] == "COMPLETE"
    for row in pruned:
        last = max(int(rung) for rung in row["rungs"])
        start = row["number"] // 4 * 4
        earlier = [r["value"] for r in study.trials[:start] if r["state"] == "COMPLETE" and r["verdict"] == "ok"]
        now = [v for r in study.trials[start : start + 4] for rung, v in r["rungs"].items() if int(rung) <= last]
        before = rungs[rungs.index(last) - 3]
        a, b = row["rungs"][str(before)], row["rungs"][str(last)]
        assert b - max(0, a - b) * math.log(24 / last) / math.log(last / before) > min([*earlier, *now])


def test_the_defaults_are_trial_0_and_the_linear_model_trial_1(digits: Dataset, tmp_path: Path):
    space = {"layers": (0, 2), "latent_dim": (2, 8), "lr": (5e-3, 1e-2, "log"), "weight_decay": (1e-6, 1e-2, "log")}
    options = {"settings": {"width": 32, "epochs": 12}, "workers": 1, "final_seeds": 1, "finalists": 1}
    found = studies.tune(digits, space, 4, figures="none", out=tmp_path / "s", **options)
    default = {"layers": 2, "latent_dim": 8, "lr": 5e-3, "weight_decay": 1e-6}  # as near as the space allows
    assert found.trials[0]["params"] == default
    assert found.trials[1]["params"] == {**default, "layers": 0}
    assert 0 in [row["number"] for row in found.results["finalists"]]


def test_the_config_repeats_the_study(study: Study, digits: Dataset, tmp_path: Path):
    config, source = Config.read(study.folder / "config.toml", TASK)
    assert source["source"] == "digits"
    config = dataclasses.replace(config, figures="none")  # they take longer than the training
    again = tune.begin(config, digits, workers=1, out=tmp_path / "again")
    assert [row["value"] for row in again.trials] == [row["value"] for row in study.trials]
    assert again.results["best"]["seeds"] == study.results["best"]["seeds"]


def test_grid_and_random_samplers_visit_what_they_should(digits: Dataset, tmp_path: Path):
    space, settings = {"latent_dim": (2, 4), "activation": ["silu", "relu"]}, {"epochs": 1, "hidden": "16"}
    options = {"settings": settings, "workers": 1, "final_seeds": 1, "figures": "none", "prune": False}
    grid = studies.tune(digits, space, 6, sampler="grid", out=tmp_path / "grid", **options)
    seen = {(row["params"]["latent_dim"], row["params"]["activation"]) for row in grid.trials}
    assert seen == {(d, a) for d in (2, 3, 4) for a in ("silu", "relu")}
    one, two = (
        studies.tune(digits, space, 2, sampler="random", seed=s, out=tmp_path / f"r{s}", **options) for s in (1, 2)
    )
    assert [row["params"] for row in one.trials] != [row["params"] for row in two.trials]


def test_beta_may_be_searched_under_a_yardstick_that_it_does_not_enter():
    assert not decided(from_arrays(np.random.default_rng(0).normal(size=(100, 64)))).warnings()
    beta, lr = (Space.parse(space, Spec) for space in ({"beta": (0.1, 4.0)}, {"lr": (1e-3, 1e-2)}))
    assert "will find about 1" in Config.create(TASK, beta, {}).warnings()[0]
    with pytest.raises(InputError, match="cannot be searched with the yardstick weighted_loss"):
        Config.create(TASK, beta, {}, yardstick="weighted_loss")
    assert Config.create(TASK, lr, {"beta": 4.0}, yardstick="weighted_loss")


def test_only_a_yardstick_whose_curves_flatten_prunes(digits: Dataset):
    for yardstick, reason in {"neg_elbo": "", "probe": "probe may still improve", "rate,distortion": "two"}.items():
        notes = [note for note in decided(digits, yardstick=yardstick).warnings() if "no trial is pruned" in note]
        assert decided(digits, yardstick=yardstick).prunes == (not reason)
        assert all(reason in note for note in notes)
        assert len(notes) == bool(reason)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=30))
def test_every_member_is_in_one_stack_of_its_kind(shapes):
    members = [
        Member(str(i), Spec(width=w, latent_dim=d, layers=n, likelihood="bernoulli", batch_size=32, device="cpu"))
        for i, (w, d, n) in enumerate(shapes)
    ]
    parts = stacks(members, (64,), 2, VAESystem())
    assert sorted(m.name for part in parts for m in part) == sorted(m.name for m in members)
    assert all(len({m.spec.layers for m in part}) == 1 for part in parts)
    job = Job(tuple(parts[0]), 3, "work", folders={parts[0][0].name: "run"})
    assert Job.from_json(job.to_json(), Spec) == job


def test_pace_learns_from_what_was_spent():
    spec, pace = Spec(batch_size=100, likelihood="bernoulli"), Pace((784,), 540.0, VAESystem())
    guess = pace.estimate([spec], 10, workers=1)
    pace.learn(spec, 5, seconds=guess)  # twice as long as guessed
    pace.learn(spec, 5, seconds=guess)
    assert pace.estimate([spec], 10, workers=1) == pytest.approx(2 * guess)
    assert pace.estimate([spec, spec], 10, workers=2) == pytest.approx(2 * guess)
    assert pace.estimate([spec] * 3, 10, workers=2) == pytest.approx(4 * guess)  # the third waits for a free worker


def test_pace_knows_kinds_of_network_apart():
    dense, conv = (Spec(network=n, batch_size=100, likelihood="bernoulli", device="cpu") for n in ("mlp", "conv"))
    pace = Pace((28, 28), 540.0, VAESystem())
    guess = pace.estimate([dense], 10, workers=1)
    assert pace.estimate([conv], 10, workers=1) > 5 * guess
    guessed = pace.estimate([conv], 10, workers=1)
    pace.learn(dense, 10, seconds=3 * guess)
    assert pace.estimate([conv], 10, workers=1) == pytest.approx(3 * guessed)  # nothing better is known of it
    pace.learn(conv, 10, seconds=guessed)
    assert pace.estimate([conv], 10, workers=1) == pytest.approx(guessed)
    assert pace.estimate([dense], 10, workers=1) == pytest.approx(3 * guess)


@pytest.mark.parametrize(("device", "together"), [("cpu", 1), ("cuda", 3)])
def test_convolutions_train_alone_on_a_cpu_and_as_groups_on_cuda(device, together):
    spec = Spec(network="conv", channels="2-4", kernel=3, batch_size=32, likelihood="bernoulli", device=device)
    parts = stacks([Member(str(i), spec) for i in range(3)], (8, 8), 1, VAESystem())
    assert [len(part) for part in parts] == [together] * (3 // together)


def images_of(side: int) -> Dataset:
    """400 grey images, each of one level."""
    return from_arrays(np.zeros((400, side, side), np.uint8) + np.arange(400, dtype=np.uint8)[:, None, None], seed=0)


def test_a_short_search_leaves_convolutions_out_and_a_table_never_has_them():
    images, table = images_of(16), from_arrays(np.random.default_rng(0).normal(size=(400, 784)))
    assert "network" in decided(images).searched
    assert "network" not in decided(images, timeout=0.01).searched
    assert "network" not in decided(images_of(8)).searched
    assert "network" not in decided(table).searched
    assert "channels" not in decided(images_of(28), {"network": "mlp"}).searched
    assert any("one at a time" in note for note in decided(images_of(28)).warnings())
    too_large = Config.create(TASK, Space.parse({"kernel": [3, 17]}, Spec), {"network": "conv"})
    with pytest.raises(InputError, match="smaller side of an example, but got 17 for 16 x 16"):
        tune.begin(too_large, images)


def test_a_cohort_is_a_setting_of_the_study_and_more_workers_than_that_are_told(tmp_path: Path):
    class Notes(Watch):
        said: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.said.append(text)

    options: dict[str, Any] = {"settings": {"epochs": 1, "hidden": "8"}, "final_seeds": 1, "figures": "none"}
    watch, made = Notes(), []
    for name, cohort, workers in (("one", 2, 1), ("three", 2, 3), ("default", None, 1)):
        where: dict[str, Any] = {"workers": workers, "out": tmp_path / name, "watch": watch}
        made.append(studies.tune("digits", {"latent_dim": (1, 8)}, 5, cohort=cohort, **where, **options))
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in study.trials] for study in made]
    assert rows[0] == rows[1]
    assert [config_of(study)["study"]["cohort"] for study in made] == [2, 2, 4]
    assert [text for text in Notes.said if "workers" in text] == [
        "3 workers, but trials are suggested 2 at a time, so some wait; a study with `cohort` = 3 keeps all busy."
    ]


def config_of(study: Study) -> dict[str, Any]:
    return tomllib.loads((study.folder / "config.toml").read_text())


def test_a_cohort_that_fails_whole_ends_at_its_rung(tmp_path: Path):
    wild = ["--set", "optimizer=sgd", "--set", "clip=1e30", "--search", "lr=90..100", "--set", "epochs=8"]
    done = vaelab(["tune", "digits", *wild, "--trials", "4", "--workers", "1", "--out", "s"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 trials: 0 complete, 0 pruned, 4 failed" in done.stdout
    assert "the first failure: the gradient became non-finite" in done.stdout


def test_importance_sees_pruned_trials_too():
    """What decides, decides alone; seven of eight trials are pruned at one of two rungs."""
    rng, trials = np.random.default_rng(0), []
    ranges = {"decides": FloatDistribution(0, 1), "idle": FloatDistribution(0, 1)}
    for _ in range(48):
        params = {"decides": float(rng.random()), "idle": float(rng.random())}
        figure = params["decides"]
        steps = {2: figure} | ({4: figure - 5} if figure < 0.3 else {})
        complete = figure < 0.12
        state, value = (TrialState.COMPLETE, figure - 9) if complete else (TrialState.PRUNED, None)
        trials.append(
            create_trial(state=state, value=value, params=params, distributions=ranges, intermediate_values=steps)
        )
    trials.append(create_trial(state=TrialState.FAIL, params=params, distributions=ranges))
    order = [t.params["decides"] for t in ranked(trials)]
    assert order == sorted(order)
    assert len(order) == 48
    shares = importance(trials)
    assert shares["decides"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(trials[:7]) == {}
