"""The training loop: exact continuation, failures that stay with their member, best weights, and honest records."""

import math

import numpy as np
import pytest
import torch

from vaelab.data import from_arrays
from vaelab.engine.training import MemberState, Stack, epochs
from vaelab.vae import epoch as vae_epoch
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fused import stack as fused_vae
from vaelab.vae.learning import Variational, beta_at
from vaelab.vae.objectives import OBJECTIVES
from vaelab.vae.spec import Spec

BASE = {"hidden": "16", "latent_dim": 3, "batch_size": 20, "epochs": 6, "device": "cpu", "likelihood": "gaussian"}


@pytest.fixture(scope="module")
def table():
    """130 rows, of which 91 train: 4 batches of 20 and one of 11."""
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(130, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(130, 5)), seed=1)


def specs_of(data, *members, **settings):
    return [resolve(Spec.create(**{**BASE, **settings, **member}), data) for member in members]


def three(data, **settings):
    return specs_of(
        data,
        {"seed": 1},
        {"seed": 2, "latent_dim": 8, "optimizer": "rmsprop", "weight_decay": 0.1},
        {"seed": 3, "lr": 0.02, "optimizer": "adamw", "weight_decay": 0.1, "beta": 0.5},
        **settings,
    )


def run(specs, feed, until=None):
    stack = Stack(specs, feed, Variational())
    return stack, list(epochs(stack, until))


def same_bits(one, i, other, k):
    return all(
        torch.equal(a[i], b[k])
        for a, b in (
            (one.parameters, other.parameters),
            (one.best, other.best),
            (one.optimizer.first, other.optimizer.first),
            (one.optimizer.second, other.optimizer.second),
        )
    )


@pytest.mark.parametrize(
    "settings", [{}, {"engine": "autograd"}, {"dropout": 0.2}, {"samples": 3}, {"warmup": 3}], ids=str
)
@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_restored_run_continues_bit_for_bit(table, settings, at):
    specs = three(table, **settings)
    feed = Feed(table, specs[0])
    whole, records = run(specs, feed)
    first, _ = run(specs, feed, until=at)
    states = [first.member_state(k) for k in range(3)]
    list(epochs(first, 6))  # a state is a copy: training on does not change it
    second = Stack(specs, Feed(table, specs[0]), Variational())
    second.restore(states)
    assert list(epochs(second)) == records[at:]
    assert all(same_bits(second, k, whole, k) for k in range(3))
    assert second.best_loss == whole.best_loss


def test_members_restore_into_any_company(table):
    specs = three(table)
    feed = Feed(table, specs[0])
    whole, records = run(specs, feed)
    first, _ = run(specs, feed, until=2)
    stranger, _ = run(specs_of(table, {"seed": 77, "lr": 0.01}), feed, until=2)
    company = Stack([specs[2], stranger.specs[0], specs[0]], feed, Variational())
    company.restore([first.member_state(2), stranger.member_state(0), first.member_state(0)])
    later = list(epochs(company))
    assert [[r[0], r[2]] for r in later] == [[r[2], r[0]] for r in records[2:]]
    assert same_bits(company, 0, whole, 2)
    assert same_bits(company, 2, whole, 0)


def test_a_member_state_survives_a_round_trip_through_bytes(table, tmp_path):
    specs = three(table)[:1]
    feed = Feed(table, specs[0])
    whole, _ = run(specs, feed)
    state = run(specs, feed, until=2)[0].member_state(0)
    np.savez(tmp_path / "state.npz", **state.arrays)
    with np.load(tmp_path / "state.npz") as arrays:
        again = MemberState(dict(arrays), state.epoch, state.step, state.best_loss, state.best_epoch)
    stack = Stack(specs, feed, Variational())
    stack.restore([again])
    list(epochs(stack))
    assert same_bits(stack, 0, whole, 0)


def test_states_of_different_epochs_do_not_mix(table):
    specs = three(table)[:2]
    feed = Feed(table, specs[0])
    stack, _ = run(specs, feed, until=1)
    early = stack.member_state(0)
    list(epochs(stack, 2))
    with pytest.raises(ValueError, match="unpack"):
        Stack(specs, feed, Variational()).restore([early, stack.member_state(1)])


def poison(monkeypatch, member, steps):
    """Make the noise of one member NaN in some steps, counted from 1; an epoch has 5 steps of 20 rows."""
    original = vae_epoch.draw

    def poisoned(stack, k, rows):
        draws = original(stack, k, rows)
        for step in steps:
            if k == member and (step - 1) // 5 == stack.epoch:
                draws.normal[20 * ((step - 1) % 5)] = math.nan
        return draws

    monkeypatch.setattr(vae_epoch, "draw", poisoned)
    monkeypatch.setattr(fused_vae, "draw", poisoned)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("step", [1, 13, 30], ids=["first", "middle", "last"])
@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_non_finite_step_is_named_and_stays_with_its_member(table, monkeypatch, member, step, engine):
    specs = three(table, engine=engine)
    feed = Feed(table, specs[0])
    undisturbed, records = run(specs, feed)
    assert undisturbed.failures == [None] * 3
    assert undisturbed.optimizer.step_number == 30
    poison(monkeypatch, member, {step})
    stack, seen = run(specs, feed)
    expected = f"the gradient became non-finite in step {step} (epoch {-(-step // 5)})"
    assert stack.failures == [expected if k == member else None for k in range(3)]
    assert torch.isfinite(stack.parameters).all()
    assert torch.isfinite(stack.best).all()
    for k in {0, 1, 2} - {member}:
        assert same_bits(stack, k, undisturbed, k)
        assert [r[k] for r in seen] == [r[k] for r in records]


def test_the_first_failure_is_the_one_that_is_told(table, monkeypatch):
    poison(monkeypatch, 1, {7, 8, 20})
    specs = three(table)
    stack, _ = run(specs, Feed(table, specs[0]))
    assert stack.failures[1] == "the gradient became non-finite in step 7 (epoch 2)"


def test_a_failed_member_can_leave_and_its_neighbours_go_on(table, monkeypatch):
    specs = three(table)
    feed = Feed(table, specs[0])
    undisturbed, _ = run(specs, feed)
    poison(monkeypatch, 1, {3})
    stack = Stack(specs, feed, Variational())
    list(epochs(stack, 1))
    stack.select([0, 2])
    assert stack.failures == [None, None]
    list(epochs(stack))
    assert same_bits(stack, 0, undisturbed, 0)
    assert same_bits(stack, 1, undisturbed, 2)


def test_a_rate_that_blows_up_is_a_failure_with_finite_best_weights(table):
    specs = [*three(table), *specs_of(table, {"seed": 4, "lr": 100.0, "optimizer": "sgd", "clip": 1e30})]
    feed = Feed(table, specs[0])
    undisturbed, _ = run(specs[:3], feed)
    stack, records = run(specs, feed)
    assert stack.failures[:3] == [None] * 3
    assert "non-finite" in stack.failures[3]
    assert torch.isfinite(stack.best).all()
    assert all(same_bits(stack, k, undisturbed, k) for k in range(3))
    assert not all(math.isfinite(r[3].validation["neg_elbo"] + r[3].train["neg_elbo"]) for r in records)


@pytest.mark.parametrize("settings", [{}, {"beta": 3.0}, {"warmup": 4}, {"warmup": 99}], ids=str)
def test_best_weights_are_those_of_the_best_validation_epoch_at_full_beta(table, settings):
    """A constant high rate, so that the best epoch is not simply the last."""
    members = ({"seed": s, "lr": 0.05} for s in range(5))
    specs = specs_of(table, *members, schedule="constant", epochs=12, **settings)
    stack = Stack(specs, Feed(table, specs[0]), Variational())
    weights, records = [], []
    for own in epochs(stack):
        records.append(own)
        weights.append(stack.parameters.detach().clone())
    last_ramp = min(settings.get("warmup", 0), 11)
    best_epochs = set()
    for k, spec in enumerate(specs):
        losses = [r[k].validation["distortion"] + spec.beta * r[k].validation["rate"] for r in records]
        best = last_ramp + int(np.argmin(losses[last_ramp:]))
        best_epochs.add(best)
        assert stack.best_loss[k] == pytest.approx(losses[best], rel=1e-12)
        assert torch.equal(stack.best[k], weights[best][k])
        running = [math.inf, *np.minimum.accumulate(losses[last_ramp:])]
        improved = [loss < before for loss, before in zip(losses[last_ramp:], running, strict=False)]
        assert [r[k].is_best for r in records] == [False] * last_ramp + improved
    if last_ramp < 11:
        assert len(best_epochs) > 1


@pytest.mark.parametrize("samples", [1, 3])
def test_train_figures_are_means_over_the_examples_of_all_batches_in_own_units(table, monkeypatch, samples):
    name = "elbo" if samples == 1 else "importance_weighted"
    original, seen = OBJECTIVES[name], []

    def spy(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setitem(OBJECTIVES, name, spy)
    specs = three(table, samples=samples, engine="autograd")
    feed = Feed(table, specs[0])
    _, records = run(specs, feed, until=2)
    assert [terms.rate.shape[1] for terms in seen] == [20, 20, 20, 20, 11] * 2
    own_units = np.log(table.statistics.std).sum()
    for epoch, own in enumerate(records):
        terms = seen[5 * epoch : 5 * epoch + 5]
        for k, record in enumerate(own):
            distortion, rate = (
                np.concatenate([getattr(t, which)[k].detach().double().numpy() for t in terms])
                for which in ("distortion", "rate")
            )
            assert record.train["distortion"] == pytest.approx(distortion.mean() + own_units, rel=1e-5)
            assert record.train["rate"] == pytest.approx(rate.mean(), rel=1e-5)
            total = record.train["distortion"] + record.train["rate"]
            assert record.train["neg_elbo"] == pytest.approx(total, rel=1e-12)


def test_every_epoch_visits_every_training_row_once_in_a_new_order(table, monkeypatch):
    specs = three(table, engine="autograd")
    feed = Feed(table, specs[0])
    visits = []
    original = Feed.gather
    monkeypatch.setattr(
        Feed, "gather", lambda self, rows, u=None: visits.append(rows.clone()) or original(self, rows, u)
    )
    run(specs, feed, until=2)
    orders = []
    for epoch in range(2):
        batches = visits[5 * epoch : 5 * epoch + 5]
        for k in range(3):
            order = torch.cat([rows.view(3, -1)[k] for rows in batches])
            assert sorted(order.tolist()) == sorted(table.splits["train"].tolist())
            orders.append(tuple(order.tolist()))
    assert len(set(orders)) == 6


def test_records_state_rate_and_beta_of_their_epoch(table):
    specs = specs_of(table, {"beta": 2.0, "warmup": 4, "lr": 0.01, "schedule": "cosine"})
    _, records = run(specs, Feed(table, specs[0]))
    assert [r[0].epoch for r in records] == [1, 2, 3, 4, 5, 6]
    assert [r[0].beta for r in records] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    expected = [0.01 * 0.5 * (1 + math.cos(math.pi * 5 * e / 30)) for e in range(6)]
    assert [r[0].lr for r in records] == pytest.approx(expected)
    assert beta_at(specs[0].replace(warmup=0), 0) == 2.0


def test_validation_figures_are_in_own_units_and_add_up(table):
    specs = three(table)
    feed = Feed(table, specs[0])
    stack, records = run(specs, feed, until=1)
    for k, record in enumerate(records[0]):
        figures = record.validation
        assert figures["neg_elbo"] == pytest.approx(figures["distortion"] + figures["rate"])
        alone, own = run([stack.specs[k]], feed, until=1)
        assert own[0][0] == record
        assert len(alone) == 1


def test_training_improves_what_it_minimises(table):
    specs = three(table, epochs=30)
    _, records = run(specs, Feed(table, specs[0]))
    for k in range(3):
        assert records[-1][k].validation["neg_elbo"] < records[0][k].validation["neg_elbo"] - 0.3


def test_an_epoch_of_one_batch_and_batches_of_one_row(table):
    for size in (91, 1):
        specs = specs_of(table, {"batch_size": size}, epochs=1)
        stack, records = run(specs, Feed(table, specs[0]))
        assert stack.optimizer.step_number == 91 // size
        assert math.isfinite(records[0][0].validation["neg_elbo"])
