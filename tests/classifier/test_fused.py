"""Fused training of classifiers follows autograd."""

import itertools

import numpy as np
import pytest
import torch

from vaelab.classifier.feed import LabelledFeed, resolve
from vaelab.classifier.fused import steps
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.loss import cross_entropy
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import load
from vaelab.engine.training import Stack, epochs

BASE = {"hidden": "40-20", "epochs": 2, "device": "cpu", "lr": 1e-3}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def train(data, engine, **settings):
    members = ({"seed": 1}, {"seed": 2, "label_smoothing": 0.2, "hidden": settings.get("hidden", "64-17")})
    specs = [resolve(ClassifierSpec.create(**{**BASE, **settings, **own, "engine": engine}), data) for own in members]
    stack = Stack(specs, LabelledFeed(data, specs[0]), Discriminative())
    assert (stack.fused is not None) == (engine == "fused")
    return stack, list(epochs(stack))


SETTINGS = [
    {}, {"hidden": "none"}, {"dropout1": 0.9, "hidden": "40"}, {"shift": 2, "erase": 0.5}, {"optimizer": "sgd"},
    {"weight_decay": 0.1, "optimizer": "adamw", "clip": 0.5}, {"activation": "gelu", "batch_size": 77},
    {"class_weight": "balanced"},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_stack_by_both_engines(digits, settings):
    one, records = train(digits, "fused", **settings)
    other, expected = train(digits, "autograd", **settings)
    torch.testing.assert_close(one.parameters, other.parameters, atol=2e-5, rtol=1e-4)
    for mine, theirs in zip(itertools.chain(*records), itertools.chain(*expected), strict=True):
        assert mine.train == pytest.approx(theirs.train, abs=1e-4)
        assert mine.validation == pytest.approx(theirs.validation, abs=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("scale", [1.0, 40.0, 1e4])
def test_cross_entropy_and_its_gradient_are_those_of_double_precision(scale, smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(50, 7, generator=generator)
    y = torch.randint(7, (50,), generator=generator)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    leaf = logits.double()[None].requires_grad_()
    answers = cross_entropy(leaf, y[None], torch.tensor([[smoothing]], dtype=torch.float64), weights[None])
    (gradient,) = torch.autograd.grad(answers.loss.sum(), leaf)
    found, sums = np.zeros((50, 16), np.float32), np.zeros(2)
    found[:, :7] = logits
    steps.cross_entropy(found, 7, y.numpy(), np.float32(smoothing), weights.float().numpy(), sums)
    assert sums == pytest.approx([float(answers.log_loss.sum()), float(answers.error.sum())], rel=1e-5)
    np.testing.assert_allclose(found[:, :7], gradient[0], atol=1e-7)
    assert not found[:, 7:].any()
