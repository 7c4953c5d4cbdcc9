"""Verdicts: the statistics against scipy and by hand, the sentences for crafted figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vaelab import Spec
from vaelab.comparison.judging import Judged
from vaelab.comparison.run import _notes
from vaelab.comparison.verdicts import PAIRED_LABEL, Contender, holm, judge, paired, welch
from vaelab.data import from_arrays


@pytest.mark.parametrize(("n", "m", "spread"), [(5, 5, 1.0), (2, 7, 8.0), (3, 2, 0.01)])
def test_welch_is_scipys(n: int, m: int, spread: float) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(3, 1, n), rng.normal(2, spread, m)
    found, known = welch(a.tolist(), b.tolist()), stats.ttest_ind(a, b, equal_var=False)
    interval = known.confidence_interval(0.95)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(known.pvalue)


def test_paired_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(100, 30, 50)
    b = a + rng.normal(0.3, 1, 50)
    found, known = paired(a, b), stats.ttest_rel(a, b)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(known.pvalue)


def test_figures_without_spread_have_an_answer() -> None:
    same, other = welch([1.0, 1.0], [1.0, 1.0]), welch([1.0, 1.0], [2.0, 2.0])
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert (other.difference, other.low, other.high, other.p) == (-1, -1, -1, 0)
    assert welch([1.0], [2.0, 3.0]).p is None


def test_holm_by_hand() -> None:
    # 4 tests: 0.01 * 4, 0.015 * 3 = 0.045, then 0.02 * 2 = 0.04 may not fall below 0.045, 0.9 * 1.
    assert holm([0.02, 0.01, 0.9, 0.015]) == pytest.approx([0.045, 0.04, 0.9, 0.045])
    assert holm([0.6, 0.7]) == [1.0, 1.0]  # 0.7 alone is less than 0.6 * 2, capped at 1
    assert holm([]) == []


def contender(name: str, values: list[float], parameters: int = 100, **changes: Any) -> Contender:
    costs = np.full(20, values[0]) + np.random.default_rng(len(name)).normal(size=20)
    metrics = {"neg_elbo": values, "mse": [v / 1000 for v in values]}
    facts: dict[str, Any] = {
        "metrics": metrics,
        "units": {"likelihood": "bernoulli", "binarize": "none"},
        "costs": costs,
    }
    return Contender(name, parameters, **(facts | changes))


WIDE = contender("wide", [145.0, 145.2, 145.4, 145.1, 145.3], 900)
NARROW = contender("narrow", [153.0, 153.3, 152.9, 153.1, 153.2], 300)
SAME = contender("same", [145.1, 145.3, 145.2, 145.5, 145.0], 500)


def test_a_winner_is_named_with_figure_interval_and_seeds() -> None:
    (row,), said = judge([NARROW, WIDE])
    known = stats.ttest_ind(WIDE.metrics["neg_elbo"], NARROW.metrics["neg_elbo"], equal_var=False)
    interval = known.confidence_interval(0.95)
    assert row["shown"]
    assert (row["a"], row["b"]) == ("narrow", "wide")
    assert row["difference"] == pytest.approx(7.9)
    assert row["p"] == row["p_holm"] == pytest.approx(known.pvalue)
    lead = f"95 % interval {-interval.high:.3f} to {-interval.low:.3f}, p < 0.0001, 5 seeds each"
    assert (
        row["sentence"]
        == f"wide is better than narrow: its validation neg_elbo is 7.900 nats per example lower ({lead})."
    )
    assert said == (
        f"Use wide: its validation neg_elbo is 145.20 nats per example, 7.900 lower than narrow's ({lead})."
    )
    assert row["paired"]["label"] == PAIRED_LABEL
    assert row["paired"]["difference"] == pytest.approx(np.mean(NARROW.costs - WIDE.costs))


def test_a_tie_goes_to_the_smaller_model() -> None:
    (row,), said = judge([WIDE, SAME])
    assert not row["shown"]
    assert row["low"] < 0 < row["high"]
    assert said.startswith("No difference shown between wide and same: wide's validation neg_elbo is 0.0200 nats")
    assert f"95 % interval {-row['high']:.4f} to {-row['low']:.4f}" in said
    assert said.endswith("Ties go to the smaller model: use same, with 500 parameters against 900.")


def test_a_simpler_model_that_is_no_worse_makes_it_a_recommendation_among_those_compared() -> None:
    known = [judge(models)[1] for models in ([NARROW, WIDE], [WIDE, SAME])]
    clear, tie = (judge(models, beaten=True)[1] for models in ([NARROW, WIDE], [WIDE, SAME]))
    assert clear == known[0].replace("Use wide", "Among the models compared, use wide")
    assert tie == known[1].replace("model: use same", "model: among the models compared, use same")


def test_three_models_are_corrected_and_all_named() -> None:
    rows, said = judge([WIDE, NARROW, SAME])
    assert [(r["a"], r["b"]) for r in rows] == [("wide", "narrow"), ("wide", "same"), ("narrow", "same")]
    assert [r["p_holm"] for r in rows] == pytest.approx(holm([r["p"] for r in rows]))
    assert "after Holm over 3 tests" in rows[0]["sentence"]
    assert "use same" in said
    assert "narrow" not in said
    _, alone = judge([WIDE, NARROW, contender("poor", [170.0, 171.0, 170.5])])
    assert alone.startswith("Use wide")
    assert alone.endswith("better than each of the others.")


def test_one_seed_cannot_tell() -> None:
    rows, said = judge([contender("a", [10.0]), contender("b", [12.0, 12.1, 12.2])])
    assert rows[0]["p"] is rows[0]["low"] is rows[0]["p_holm"] is None
    assert not rows[0]["shown"]
    assert "One seed cannot distinguish a from b" in rows[0]["sentence"]
    assert said.startswith("No recommendation: one seed cannot distinguish models, and a has one.")
    assert "2.1 nats per example below b's" in said


def test_no_winner_in_nats_across_likelihoods() -> None:
    gaussian = {"likelihood": "gaussian of 64 features", "binarize": "none"}
    dense = contender("dense", [-900.0, -901.0, -902.0], units=gaussian, metrics={
        "neg_elbo": [-900.0, -901.0, -902.0], "mse": [0.5, 0.51, 0.52],
    })  # fmt: skip
    rows, said = judge([WIDE, dense])
    assert [row["metric"] for row in rows] == ["mse"]
    assert rows[0]["shown"]
    assert rows[0]["paired"] is None
    assert said == (
        "No winner in nats: likelihood differs (wide: bernoulli, dense: gaussian of 64 features), so their nats are "
        "not comparable. On validation, wide has the lowest reconstruction MSE (0.1452)."
    )


def test_accuracies_are_better_when_higher() -> None:
    def probed(name: str, scores: list[float], binarize: str) -> Contender:
        units = {"likelihood": "bernoulli", "binarize": binarize}
        return contender(name, [1.0, 2.0], units=units, metrics={"neg_elbo": [1.0, 2.0], "probe": scores})

    rows, said = judge([probed("a", [0.5, 0.51, 0.52], "none"), probed("b", [0.9, 0.91, 0.92], "fixed")])
    assert rows[0]["sentence"].startswith("b is better than a: its validation probe accuracy is 0.4000 higher")
    assert "b has the highest probe accuracy (0.91)" in said


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["its rate is 0", None], "'a' collapsed in 1 of 2 runs: its rate is 0."),
        (["its rate is 0", "it is worse"], "'a' collapsed in 2 of 2 runs: in the first of them, its rate is 0."),
        (["its rate is 0"], "'a' collapsed in 1 of 1 run: its rate is 0."),
    ],
)
def test_the_reason_of_a_collapse_says_whose_it_is(reasons: list[str | None], said: str) -> None:
    costs = np.zeros(3)
    facts = [{"validation": {"verdict": "collapsed" if reason else "ok", "reason": reason}} for reason in reasons]
    judged = [Judged({"validation": {}}, costs, full) for full in facts]
    fitted: Any = [SimpleNamespace(spec=Spec())] * len(reasons)
    assert said in _notes({"a": fitted}, {"a": judged}, from_arrays(np.eye(6)))


def test_a_collapsed_model_cannot_win() -> None:
    fallen = contender("fallen", [145.1, 145.3, 145.2], 10, collapsed=True)
    assert judge([WIDE, fallen])[1] == (
        "Use wide: its validation neg_elbo is 145.20 nats per example. "
        "fallen collapsed (the notes say why) and cannot win."
    )
    other, alike = contender("other", [144.9, 145.6, 145.4], 20), contender("alike", [145.0, 145.2, 145.5], 30)
    sentences = {frozenset((row["a"], row["b"])): row["sentence"] for row in judge([fallen, other, alike])[0]}
    assert sentences[frozenset(("fallen", "other"))].startswith("No difference shown")
    assert sentences[frozenset(("fallen", "other"))].endswith("). fallen collapsed and cannot win.")
    assert "collapsed" not in sentences[frozenset(("other", "alike"))]
    everyone = [fallen, contender("too", [1.0, 2.0], collapsed=True)]
    assert judge(everyone)[1] == "No recommendation: every model collapsed (the notes say why)."
    assert judge(everyone, "Not trained enough.")[1].endswith("(the notes say why). Not trained enough.")
