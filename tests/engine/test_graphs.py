"""Steps on static buffers, as a GPU captures them, give what eager steps give. The capture itself needs a GPU."""

import math

import numpy as np
import pytest
import torch

from vaelab.classifier.feed import LabelledFeed
from vaelab.classifier.feed import resolve as resolve_classifier
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.vae import epoch as vae_epoch
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

BASE = {"hidden": "20-9", "batch_size": 16, "epochs": 4, "engine": "autograd", "latent_dim": 3}
MEMBERS = ({"seed": 1}, {"seed": 2, "lr": 1e-2, "optimizer": "adamw", "weight_decay": 0.1, "clip": 0.5},
           {"seed": 3, "optimizer": "rmsprop", "schedule": "cosine"}, {"seed": 4, "optimizer": "sgd"})  # fmt: skip
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
VARIANTS = [
    {}, {"dropout": 0.3}, {"samples": 3}, {"free_bits": 0.2, "warmup": 2}, {"binarize": "dynamic"},
    {"prior": "vamp", "components": 4}, {"prior": "mixture", "components": 3, "pretrain": 2},
    {"network": "conv", "channels": "4", "norm": "batch", "kernel": 3},
]  # fmt: skip


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(168, 3)) @ rng.normal(size=(3, 64))
    return from_arrays((255 / (1 + np.exp(-factors))).astype(np.uint8).reshape(-1, 8, 8), seed=3)


def both(make):
    """Records and parameters of eager steps, then of steps on static buffers."""
    found = []
    for is_static in (False, True):
        stack = make()
        stack.is_static = is_static
        found.append((list(epochs(stack)), stack))
    return found


def assert_equal(found):
    (expected, eager), (records, static) = found
    assert len(static.static_steps) in (1, 2)  # whole batches, and the last
    torch.testing.assert_close(static.parameters, eager.parameters, atol=1e-5, rtol=1e-4)
    assert static.optimizer.step_number == eager.optimizer.step_number
    for mine, theirs in zip(records, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert a.train == pytest.approx(b.train, rel=1e-4, abs=1e-5)
            assert a.validation == pytest.approx(b.validation, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_vaes(images, settings, device):
    alone = settings.get("network") == "conv" and device == "cpu"
    specs = [
        resolve(Spec.create(**{**BASE, **settings, **own, "device": device}), images)
        for own in (MEMBERS[:1] if alone else MEMBERS)
    ]
    assert_equal(both(lambda: Stack(specs, Feed(images, specs[0]), Variational())))


@pytest.mark.parametrize("device", DEVICES)
def test_classifiers(digits, device):
    settings = {"hidden": "40", "dropout1": 0.3, "shift": 1, "epochs": 2, "engine": "autograd", "device": device}
    specs = [
        resolve_classifier(ClassifierSpec.create(**settings, label_smoothing=s, seed=k), digits)
        for k, s in enumerate((0.0, 0.2))
    ]
    assert_equal(both(lambda: Stack(specs, LabelledFeed(digits, specs[0]), Discriminative())))


def test_a_failure_is_named_by_its_step_and_member(images, monkeypatch):
    """104 of 117 rows are in whole batches; the seventh step of the second epoch, and its last, partial one."""
    original = vae_epoch.draw

    def poisoned(stack, k, rows):
        draws = original(stack, k, rows)
        for member, row in (1, 6 * 16), (2, rows - 1):
            if k == member and stack.epoch == 1:
                draws.normal[row] = math.nan
        return draws

    monkeypatch.setattr(vae_epoch, "draw", poisoned)
    specs = [resolve(Spec.create(**BASE, **own, device="cpu"), images) for own in MEMBERS]
    (_, eager), (_, static) = both(lambda: Stack(specs, Feed(images, specs[0]), Variational()))
    assert static.failures == eager.failures
    assert static.failures[0] is None
    assert static.failures[1] == "the gradient became non-finite in step 15 (epoch 2)"
    assert static.failures[2] == "the gradient became non-finite in step 16 (epoch 2)"
    assert torch.isfinite(static.parameters).all()
    torch.testing.assert_close(static.parameters[0], eager.parameters[0], atol=1e-5, rtol=1e-4)
