"""What every yardstick of VAEs must hold: a study is judged, told and drawn by it, and by nothing else."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaelab.api.studies import tune
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.settings.yardsticks import Yardstick
from vaelab.study import jobs
from vaelab.study.checkpoints import Checkpoint, Member
from vaelab.study.jobs import Job
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem
from vaelab.vae.task import TASK
from vaelab.vae.yardsticks import YARDSTICKS
from vaelab.vae.yardsticks.yardstick import LatentYardstick

pytestmark = pytest.mark.slow

SETTINGS = {"hidden": "32", "latent_dim": 4, "epochs": 15, "batch_size": 16, "beta": 1.5}


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return from_arrays(found.images[:400] / 16, found.target[:400], name="digits")


@pytest.fixture(scope="module", params=list(YARDSTICKS))
def study(request, digits, tmp_path_factory):
    """Judged by one entry, with its partner if it has one."""
    out = tmp_path_factory.mktemp("judged") / "study"
    names = [name for name in (request.param, YARDSTICKS[request.param].partner) if name]
    return tune(
        digits, {"lr": (4e-3, 1e-2, "log")}, 3, settings=SETTINGS, yardstick=names, workers=1, final_seeds=2,
        finalists=2, figures="none", out=out,
    )  # fmt: skip


def test_names_are_those_of_the_registry():
    assert all(YARDSTICKS[name].name == name for name in YARDSTICKS)
    assert TASK.yardsticks is YARDSTICKS
    with pytest.raises(InputError, match="unknown yardstick"):
        VAESystem("reconstruction")


def test_the_figure_is_among_the_metrics_of_every_judgement_and_of_every_epoch_if_it_costs_nothing(study):
    yardstick = Yardstick.of(study.results)
    for run in (study.folder / "finals").iterdir():
        metrics = json.loads((run / "metrics.json").read_text())
        assert math.isfinite(metrics["validation"][yardstick.name])
        records = [json.loads(line)["validation"] for line in (run / "history.jsonl").read_text().splitlines()]
        if isinstance(YARDSTICKS[yardstick.name], LatentYardstick):
            assert not any(yardstick.name in record for record in records)
        else:
            assert all(math.isfinite(record[yardstick.name]) for record in records)
    best = study.results["best"]
    assert math.isfinite(best["test"][YARDSTICKS[yardstick.name].headline])


def expected(name, model, data, split):
    """The figure of a measured yardstick, from the saved model's latents and scikit-learn alone."""
    (train, _), (z, _) = model.encode(data.rows("train")), model.encode(data.rows(split))
    codes, own = data.labels_of("train"), data.labels_of(split)
    train, z = train.astype(np.float64), z.astype(np.float64)

    def clusters(rows):
        return GaussianMixture(10, n_init=3, random_state=0).fit(rows).predict(z)

    def accuracy(classifier):
        return make_pipeline(StandardScaler(), classifier).fit(train, codes).score(z, own)

    figures = {
        "probe": lambda: accuracy(LogisticRegression(max_iter=1000)),
        "neighbours": lambda: accuracy(KNeighborsClassifier(10)),
        "nmi": lambda: normalized_mutual_info_score(own, clusters(train)),
        "stability": lambda: adjusted_rand_score(clusters(train[::2]), clusters(train[1::2])),
    }
    return figures[name]()


def test_measured_figures_are_those_of_scikit_learn_on_the_saved_latents(study, digits):
    yardstick, best = Yardstick.of(study.results), study.results["best"]
    if isinstance(YARDSTICKS[yardstick.name], LatentYardstick):
        for split in "validation", "test":
            assert best[split][yardstick.name] == pytest.approx(expected(yardstick.name, study.best, digits, split))
        assert yardstick.how in (study.folder / "report.html").read_text()
    else:
        assert not yardstick.how


def test_a_rung_measures_the_best_weights_so_far_and_a_later_checkpoint_still_knows(digits, tmp_path):
    system = VAESystem("probe")
    spec = system.resolve(Spec(hidden="16", latent_dim=3, epochs=6, lr=1e-2), digits)
    member, feed = Member("m", spec), system.feed(digits, spec)
    early, late, again = (
        jobs.run(Job((member,), until, str(tmp_path)), system, feed, lambda *_: None)[0].value for until in (2, 4, 2)
    )
    assert early == again != late
    history = Checkpoint.read(tmp_path, member).history
    assert [1 - row["validation"].get("probe", 1.0) for row in history] == pytest.approx([0, early, 0, late])
    stack = Stack([spec], feed, method=system.method)
    for _ in epochs(stack, 4):
        pass
    latest = Fitted.of(feed, spec, stack.best[0])
    assert 1 - late == pytest.approx(expected("probe", latest, digits, "validation"))


def test_trials_are_ranked_by_it_and_a_share_stays_one(study):
    yardstick = Yardstick.of(study.results)
    complete = [row for row in study.trials if row["state"] == "COMPLETE"]
    assert complete
    for row in complete:
        metrics = json.loads((study.folder / row["folder"] / "metrics.json").read_text())["validation"]
        assert row["value"] == pytest.approx(metrics[yardstick.name], rel=1e-9)
        if yardstick.rises:
            assert -0.5 <= row["value"] <= 1
    finalists = study.results["finalists"]
    if len(finalists) > 1 and study.best is not None and not YARDSTICKS[yardstick.name].partner:
        means = [yardstick.cost(row["mean"]) for row in finalists]
        winner = next(row for row in finalists if row["number"] == study.results["best"]["number"])
        reach = min(means) + (finalists[int(np.argmin(means))]["se"] or 0)
        assert yardstick.cost(winner["mean"]) <= reach + 1e-12


def test_the_page_heads_its_column_with_it(study):
    text = (study.folder / "report.html").read_text()
    yardstick = Yardstick.of(study.results)
    others = {YARDSTICKS[name].short for name in YARDSTICKS} - {yardstick.short, "rate", "distortion"}
    heads = text[text.index("All trials") :].split("</thead>")[0]
    assert yardstick.short in heads
    assert not any(short in heads for short in others)


@pytest.mark.parametrize("name", YARDSTICKS)
def test_no_weight_that_enters_it_can_be_searched(name, digits, tmp_path):
    for weight in YARDSTICKS[name].weights:
        with pytest.raises(InputError, match="cannot be searched with the yardstick"):
            tune(digits, {weight: (1, 2)}, 2, yardstick=name, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()
