"""What a caller has set in PyTorch changes nothing, and is as before afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaelab.engine.process import one_thread
from vaelab.vae.estimator import VAE


@pytest.fixture
def restored() -> object:
    """PyTorch's settings as they were."""
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)


@pytest.mark.usefixtures("restored")
def test_settings_of_torch_change_no_model() -> None:
    x = np.random.default_rng(0).normal(size=(80, 4))

    def score() -> float:
        vae = VAE(latent_dim=2, hidden="8", epochs=2, engine="autograd")
        return vae.fit(x).score(x)

    expected = score()
    torch.set_default_dtype(torch.float64)
    assert score() == expected
    torch.set_grad_enabled(False)
    assert score() == expected
    torch.set_default_device("meta")
    assert score() == expected
    assert torch.get_default_dtype() == torch.float64
    assert torch.get_default_device().type == "meta"
    assert not torch.is_grad_enabled()


@pytest.mark.usefixtures("restored")
def test_settings_are_put_back_after_an_error() -> None:
    torch.set_default_dtype(torch.float64)
    with pytest.raises(ValueError, match="float32"), one_thread():
        raise ValueError(str(torch.zeros(1).dtype))
    assert torch.get_default_dtype() == torch.float64
