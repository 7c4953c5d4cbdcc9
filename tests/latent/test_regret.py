"""Likelihood regret: the best posterior of an example does not depend on where the search for it begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaelab.data import Dataset
from vaelab.latent.regret import likelihood_regret
from vaelab.vae.fitted import Fitted
from vaelab.vae.run import train
from vaelab.vae.spec import Spec


@pytest.fixture(scope="module")
def fitted(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    spec = Spec(latent_dim=3, hidden="32", epochs=40)
    return train(digits, spec, out=tmp_path_factory.mktemp("regret") / "run", figures=False).model


def test_the_optimum_is_the_same_from_another_encoder(fitted: Fitted, digits: Dataset) -> None:
    x = digits.flat[digits.splits["validation"][:40]]
    row = fitted.row.clone()
    for name, weight in fitted.model.layout.views(row).items():
        if name.startswith("encoder"):
            weight.zero_()  # every posterior is the prior
    blind = Fitted(fitted.spec, fitted.facts, fitted.scaling, row)
    near, far = likelihood_regret(fitted, x, steps=300), likelihood_regret(blind, x, steps=300)
    reached = fitted.score_samples(x, 512) + near, blind.score_samples(x, 512) + far
    assert far.mean() > near.mean() + 2
    assert np.abs(reached[0].mean() - reached[1].mean()) < 0.1 * (far.mean() - near.mean())
    assert near.mean() > 0


def test_it_is_seeded_by_the_example_and_leaves_the_model_alone(fitted: Fitted, digits: Dataset) -> None:
    x = digits.flat[:20]
    before = fitted.row.clone()
    whole = likelihood_regret(fitted, x, steps=5)
    assert torch.equal(fitted.row, before)
    np.testing.assert_allclose(likelihood_regret(fitted, x[7:9], steps=5), whole[7:9], atol=2e-2)
