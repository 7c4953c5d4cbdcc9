"""When a classifier has learned nothing: against scikit-learn, scipy's paired tests, and answers drawn without x."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from vaelab.classifier.scores import Floats, Gain, Ints, gains, probabilities, why_collapsed
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.system import ClassifierSystem
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs


def rows(*groups: tuple[int, float, int]) -> tuple[Floats, Ints]:
    """Logits (n, 2) and classes (n,) from groups of (class, p(class 1), number of rows)."""
    codes, p, number = zip(*groups, strict=True)
    p_one = np.repeat(np.array(p), number)
    return np.log(np.stack([1 - p_one, p_one], 1)), np.repeat(np.array(codes, dtype=np.int64), number)


def by_metric(logits: Floats, codes: Ints, shares: Floats) -> dict[str, Gain]:
    return {each.metric: each for each in gains(logits, codes, shares)}


def test_gains_and_their_errors_are_those_of_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.6, 0.3, 0.1])
    codes = rng.choice(3, 150, p=shares)
    logits = rng.normal(size=(150, 3)) + np.log(shares) + np.eye(3)[codes]
    found, answers = by_metric(logits, codes, shares), logits.argmax(1)
    accuracy, nats, balanced = found.values()
    assert accuracy.value == pytest.approx(accuracy_score(codes, answers))
    assert accuracy.without == pytest.approx(accuracy_score(codes, np.zeros(150)))
    assert nats.value == pytest.approx(log_loss(codes, probabilities(logits)))
    assert nats.without == pytest.approx(log_loss(codes, np.tile(shares, (150, 1))))
    assert (balanced.value, balanced.without) == pytest.approx((balanced_accuracy_score(codes, answers), 1 / 3))
    paired = stats.ttest_rel(1.0 * (answers == codes), 1.0 * (codes == 0))
    assert accuracy.gain / accuracy.error == pytest.approx(paired.statistic)
    every = np.arange(150)
    paired = stats.ttest_rel(-np.log(shares[codes]), -np.log(probabilities(logits)[every, codes]))
    assert nats.gain / nats.error == pytest.approx(paired.statistic)
    drawn = rng.choice(answers, (4000, 150))
    by_chance = np.mean([(drawn[:, codes == c] == c).mean(1) for c in range(3)], 0)
    assert by_chance.mean() == pytest.approx(1 / 3, abs=0.01)
    assert balanced.error == pytest.approx(by_chance.std(), rel=0.05)


@pytest.mark.parametrize(
    ("groups", "clear"),
    [
        # 6 % are rare. The classes have equal weights: far fewer answers are right than by never saying "rare".
        ([(0, 0.3, 240), (0, 0.7, 42), (1, 0.7, 15), (1, 0.3, 3)], {"balanced accuracy"}),
        # Never "rare", but half of the rare ones are known to be far less unlikely.
        ([(0, 0.02, 282), (1, 0.4, 9), (1, 0.02, 9)], {"log-loss"}),
        # Right far more often than by the most frequent class, but much too sure of the errors.
        ([(0, 1e-9, 80), (0, 1 - 1e-9, 30), (1, 1 - 1e-9, 70), (1, 1e-9, 20)], {"accuracy", "balanced accuracy"}),
        ([(0, 0.06, 282), (1, 0.06, 18)], set()),
        ([(0, 0.4, 30), (0, 0.6, 30), (1, 0.4, 30), (1, 0.6, 30)], set()),
    ],
)
def test_better_than_without_x_by_any_metric_is_no_collapse(
    groups: list[tuple[int, float, int]], clear: set[str]
) -> None:
    logits, codes = rows(*groups)
    shares = np.bincount(codes) / len(codes)
    assert {name for name, each in by_metric(logits, codes, shares).items() if each.is_clear} == clear
    assert (why_collapsed(logits, codes, shares) is None) == bool(clear)


@pytest.mark.parametrize("ones", [1, 2, 3, 4, 5])
def test_six_of_six_right_are_no_collapse_and_six_equal_answers_are_one(ones: int) -> None:
    logits, codes = rows((0, 0.01, 6 - ones), (1, 0.99, ones))
    shares = np.array([1 - ones / 6, ones / 6])
    assert why_collapsed(logits, codes, shares) is None
    assert why_collapsed(np.tile(np.log(shares), (6, 1)), codes, shares) is not None
    assert why_collapsed(logits[:1], codes[:1], shares) is not None  # one row shows nothing


def test_what_does_not_look_at_x_rarely_passes() -> None:
    rng = np.random.default_rng(1)
    shares = np.array([0.7, 0.2, 0.1])
    passed = 0
    for _ in range(300):
        codes = rng.choice(3, 60, p=shares)
        logits = np.log(shares) + rng.normal(size=(60, 3))
        passed += why_collapsed(logits, codes, shares) is None
    assert passed / 300 < 0.05


def test_the_reason_names_figures_that_are_so() -> None:
    logits, codes = rows((0, 0.4, 30), (0, 0.6, 30), (1, 0.4, 20), (1, 0.6, 20))
    reason = why_collapsed(logits, codes, np.array([0.6, 0.4]))
    assert reason is not None
    assert reason.startswith(
        "no metric is better by 2 standard errors than without x: accuracy 0.5000 against 0.6000 of"
    )
    assert "; balanced accuracy 0.5000 against 0.5000 of chance, ± 0.051" in reason  # sqrt(1/60 + 1/40) / 4


def test_outputs_that_are_not_finite_are_a_collapse() -> None:
    codes = np.array([0, 1] * 10)
    reason = why_collapsed(np.full((20, 2), np.nan), codes, np.array([0.5, 0.5]))
    assert reason is not None
    assert "log-loss – against 0.6931" in reason


def test_each_member_of_a_stack_is_judged_by_its_own_answers() -> None:
    rng = np.random.default_rng(0)
    codes = (rng.random(400) < 0.1).astype(int)
    data = from_arrays(rng.normal(size=(400, 2)) + 1.2 * codes[:, None], codes)
    system = ClassifierSystem("balanced_accuracy")
    settings = {"layers": 0, "epochs": 8, "lr": 0.05, "class_weight": "balanced", "engine": "autograd"}
    specs = [system.resolve(ClassifierSpec.create(**settings, seed=seed), data) for seed in (1, 2)]
    stack = Stack(specs, system.feed(data, specs[0]), method=system.method)
    for _ in epochs(stack):
        pass
    stack.best[1] = 0.0
    learned, nothing = system.judge(stack, False)
    assert learned["accuracy"] < 0.85  # always the frequent class: 0.9
    assert (learned["verdict"], learned["reason"], nothing["verdict"]) == ("ok", None, "collapsed")
