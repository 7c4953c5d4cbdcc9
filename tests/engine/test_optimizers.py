"""The stacked optimizer against torch.optim, its schedules against torch.optim.lr_scheduler; members never touch."""

import math

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from vaelab.engine import optimizers
from vaelab.engine.optimizers import RULES, Optimizer, schedule_factors
from vaelab.vae.spec import Spec

TORCH = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}
FREE = {"clip": 1e9, "schedule": "constant"}
P = 37


@pytest.fixture(autouse=True, params=["stacked", "one by one"])
def way(request, monkeypatch):
    """Every claim holds for the update of small members, and for that of large ones, which uses PyTorch's kernel."""
    if request.param == "one by one":
        monkeypatch.setattr(optimizers, "FUSED_FROM", 1)


def gradients(steps, members, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, members, P, generator=generator, dtype=dtype)


def run(specs, series, start, total=100):
    """The parameters (K, P) after stepping through a series of gradients (T, K, P)."""
    parameters = start.clone()
    optimizer = Optimizer(specs, parameters, total)
    for gradient in series:
        optimizer.step(gradient.clone())
    return parameters


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", list(RULES))
def test_rule_equals_torch_optim_over_100_steps(name, decay):
    series, start = gradients(100, 1), gradients(1, 1, seed=1)[0]
    spec = Spec(optimizer=name, lr=0.01, weight_decay=decay, **FREE)
    theirs = start[0].clone().requires_grad_()
    reference = TORCH[name]([theirs], lr=0.01, weight_decay=decay)
    for gradient in series:
        theirs.grad = gradient[0].clone()
        reference.step()
    torch.testing.assert_close(run([spec], series, start)[0], theirs.detach(), rtol=1e-12, atol=1e-13)


def test_all_rules_in_one_stack_equal_torch_optim_with_their_own_settings():
    series, start = gradients(100, 4), gradients(1, 4, seed=1)[0]
    lrs, decays = (0.1, 0.01, 0.003, 0.02), (0.3, 0.0, 0.01, 0.2)
    specs = [
        Spec(optimizer=name, lr=lr, weight_decay=decay, **FREE)
        for name, lr, decay in zip(RULES, lrs, decays, strict=True)
    ]
    ours = run(specs, series, start)
    for k, spec in enumerate(specs):
        theirs = start[k].clone().requires_grad_()
        reference = TORCH[spec.optimizer]([theirs], lr=lrs[k], weight_decay=decays[k])
        for gradient in series:
            theirs.grad = gradient[k].clone()
            reference.step()
        torch.testing.assert_close(ours[k], theirs.detach(), rtol=1e-12, atol=1e-13)


def factors(kind, total):
    return schedule_factors(kind, np.arange(total), total).tolist()


def rates_of(make, steps):
    """The learning rates that a torch scheduler uses in steps 0, 1, ..."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:  # OneCycleLR refuses to go past its end
            scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [11, 101, 1234])
def test_one_cycle_equals_torch(steps):
    """Ours peaks at 0.3 of the way from the first step to the last; torch's, one step before 0.3 of their number."""
    peak = (0.3 * (steps - 1) + 1) / steps
    theirs = rates_of(lambda o: OneCycleLR(o, 1.0, total_steps=steps, pct_start=peak, cycle_momentum=False), steps)
    ours = factors("one-cycle", steps)
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours[0] == pytest.approx(1 / 25)
    assert max(ours) > 0.95
    assert ours[-1] == pytest.approx(4e-6)


@pytest.mark.parametrize("steps", [1, 10, 500])
def test_cosine_equals_torch(steps):
    theirs = rates_of(lambda o: CosineAnnealingLR(o, T_max=steps), steps)
    assert factors("cosine", steps) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("kind", ["constant", "cosine", "one-cycle"])
def test_short_schedules_stay_between_zero_and_one(kind, steps):
    assert all(0 < factor <= 1 for factor in factors(kind, steps))


def test_scheduled_stack_equals_torch_with_the_same_rates():
    series, start = gradients(50, 2), gradients(1, 2, seed=1)[0]
    specs = [
        Spec(optimizer="adam", lr=0.1, schedule="one-cycle", clip=1e9),
        Spec(optimizer="adamw", lr=0.1, schedule="cosine", weight_decay=0.1, clip=1e9),
    ]
    ours = run(specs, series, start, total=50)
    for k, spec in enumerate(specs):
        theirs = start[k].clone().requires_grad_()
        reference = TORCH[spec.optimizer]([theirs], weight_decay=spec.weight_decay)
        for t, gradient in enumerate(series):
            reference.param_groups[0]["lr"] = 0.1 * factors(spec.schedule, 50)[t]
            theirs.grad = gradient[k].clone()
            reference.step()
        torch.testing.assert_close(ours[k], theirs.detach(), rtol=1e-12, atol=1e-13)


def test_clipping_equals_torch_member_by_member():
    gradient = gradients(1, 4)[0] * torch.tensor([[0.01], [1.0], [10.0], [1000.0]], dtype=torch.float64)
    clips = (1.0, 2.0, 3.0, 1e9)
    specs = [Spec(optimizer="sgd", lr=1.0, schedule="constant", clip=clip) for clip in clips]
    moved = -run(specs, [gradient], torch.zeros(4, P, dtype=torch.float64))
    for k, clip in enumerate(clips):
        theirs = torch.zeros(P, dtype=torch.float64, requires_grad=True)
        theirs.grad = gradient[k].clone()
        torch.nn.utils.clip_grad_norm_([theirs], clip)
        # torch adds 1e-6 to the norm that it divides by
        torch.testing.assert_close(moved[k], theirs.grad, rtol=2e-6 / clip, atol=0)
    norms = moved.norm(dim=1).tolist()
    assert norms[1:3] == pytest.approx([2.0, 3.0])
    assert norms[0] == pytest.approx(float(gradient[0].norm()), rel=1e-15)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", list(RULES))
def test_a_step_with_a_non_finite_gradient_leaves_the_member_and_its_neighbours_alone(name, bad):
    """Even with momentum and weight decay at work in the member."""
    specs = [Spec(optimizer=name, lr=0.01 * (k + 1), weight_decay=0.1, schedule="one-cycle") for k in range(3)]
    series, start = gradients(20, 3, dtype=torch.float32), gradients(1, 3, seed=1, dtype=torch.float32)[0]
    parameters = start.clone()
    optimizer = Optimizer(specs, parameters, 100)
    for t, gradient in enumerate(series):
        gradient = gradient.clone()
        before = parameters.clone()
        if t == 10:
            gradient[1, 5] = bad
        assert optimizer.step(gradient) == ([1] if t == 10 else [])
        if t == 10:
            assert torch.equal(parameters[1], before[1])
    assert torch.isfinite(parameters).all()
    undisturbed = run(specs, series, start)
    assert torch.equal(parameters[[0, 2]], undisturbed[[0, 2]])


def test_a_gradient_whose_norm_overflows_counts_as_non_finite():
    optimizer = Optimizer([Spec(clip=1e30, schedule="constant")], torch.zeros(1, P), 10)
    assert optimizer.step(torch.full((1, P), 1e25)) == [0]
    assert (optimizer.parameters == 0).all()


def mixed_specs(members):
    names = list(RULES)
    return [
        Spec(optimizer=names[k % 4], lr=0.01 * (k + 1), weight_decay=0.05 * (k % 3), clip=3.0 + k, schedule="one-cycle")
        for k in range(members)
    ]


def test_a_member_moves_bit_for_bit_as_it_would_alone():
    specs, series = mixed_specs(6), gradients(60, 6, dtype=torch.float32)
    start = gradients(1, 6, seed=1, dtype=torch.float32)[0]
    together = run(specs, series, start)
    for k in range(6):
        assert torch.equal(run(specs[k : k + 1], series[:, k : k + 1], start[k : k + 1])[0], together[k])


def test_selecting_members_keeps_their_trajectories_bit_for_bit():
    specs, series = mixed_specs(6), gradients(60, 6, dtype=torch.float32)
    start = gradients(1, 6, seed=1, dtype=torch.float32)[0]
    whole = run(specs, series, start)
    parameters = start.clone()
    optimizer = Optimizer(specs, parameters, 100)
    alive = list(range(6))
    for t, gradient in enumerate(series):
        if t in (13, 40):
            keep = {13: [5, 0, 2, 3], 40: [2, 1]}[t]  # order changes too
            alive = [alive[i] for i in keep]
            parameters = parameters[keep].clone()
            optimizer.select(keep, parameters)
        optimizer.step(gradient[alive].clone())
    assert alive == [2, 0]
    assert torch.equal(parameters, whole[alive])


def test_more_steps_than_the_table_of_coefficients_holds_and_a_jump_to_a_later_one(monkeypatch):
    """The coefficients are tabulated ahead; crossing into the next table, or restoring a later step, changes no bit."""
    specs, series = mixed_specs(4), gradients(40, 4, dtype=torch.float32)
    start = gradients(1, 4, seed=1, dtype=torch.float32)[0]
    whole = run(specs, series, start)
    monkeypatch.setattr(optimizers, "TABLE_STEPS", 7)
    assert torch.equal(run(specs, series, start), whole)
    parameters = start.clone()
    first = Optimizer(specs, parameters, 100)
    for gradient in series[:17]:
        first.step(gradient.clone())
    second = Optimizer(specs, parameters, 100)
    second.step_number, second.first, second.second = first.step_number, first.first, first.second
    for gradient in series[17:]:
        second.step(gradient.clone())
    assert torch.equal(parameters, whole)
