"""A user's own modules: trained as plain PyTorch trains them, kept as numbers, refused where shapes differ."""

import numpy as np
import pytest
import torch
from torch import nn

import vaelab
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError, StoreError
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.objectives import OBJECTIVES, elbo
from vaelab.vae.spec import Spec

SETTINGS = {"latent_dim": 3, "epochs": 3, "batch_size": 20, "hidden": "16", "device": "cpu", "likelihood": "bernoulli"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(160, 2)) @ rng.normal(size=(2, 6 * 7 * 2))
    return from_arrays((255 / (1 + np.exp(-factors))).astype(np.uint8).reshape(-1, 6, 7, 2), seed=3)


def encoder(latent=3):
    torch.manual_seed(0)
    head = nn.Linear(4 * 3 * 4, 2 * latent)
    return nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), head)


def decoder(latent=3):
    torch.manual_seed(1)
    up = nn.ConvTranspose2d(4, 2, 3, 2, 1, (1, 0))
    return nn.Sequential(nn.Linear(latent, 48), nn.SiLU(), nn.Unflatten(1, (4, 3, 4)), up)


def test_it_follows_plain_torch(data, monkeypatch):
    """The same data, noise and schedule by torch.optim on the modules themselves, batch norm included."""
    spec = resolve(Spec.create(**SETTINGS, schedule="constant"), data)
    feed, batches = Feed(data, spec), []
    gather = Feed.gather
    monkeypatch.setattr(Feed, "gather", lambda *args: batches.append(gather(*args)) or batches[-1])
    own, noises = [encoder(), decoder()], []

    def spied(model, parameters, x, noise, weights):
        noises.append(noise.normal[0])
        return elbo(model, parameters, x, noise, weights)

    monkeypatch.setitem(OBJECTIVES, "elbo", spied)
    stack = Stack([spec], feed, Variational(CustomNetworks.of(*own)))
    list(epochs(stack))
    down, up = own
    optimizer = torch.optim.Adam([*down.parameters(), *up.parameters()], lr=spec.lr)
    for x, noise in zip(batches, noises, strict=True):
        images = x.view(-1, 6, 7, 2).permute(0, 3, 1, 2)
        mean, log_var = down(images).chunk(2, 1)
        logits = up(mean + torch.exp(0.5 * log_var) * noise[:, :3])
        cost = nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        kl = 0.5 * (log_var.exp() + mean.square() - 1 - log_var).sum()
        optimizer.zero_grad()
        ((cost + kl) / len(x)).backward()
        optimizer.step()
    found = stack.model.unpad(stack.rows[0].detach(), spec)
    expected = {f"{part}.{n}": v for part, m in zip(("encoder", "decoder"), own, strict=True)
                for n, v in m.state_dict().items()}  # fmt: skip
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("given", [("encoder",), ("decoder",), ("encoder", "decoder")])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_run_with_modules_is_saved_as_numbers_and_loaded_with_them(data, given, network, tmp_path):
    modules = {name: {"encoder": encoder, "decoder": decoder}[name]() for name in given}
    before = {name: [p.clone() for p in module.parameters()] for name, module in modules.items()}
    run = vaelab.train(data, {**SETTINGS, "network": network}, out=tmp_path / "run", figures=False, **modules)
    for name, module in modules.items():
        assert all(torch.equal(a, b) for a, b in zip(before[name], module.parameters(), strict=True))
    again = vaelab.load(tmp_path / "run", **modules)
    x = data.x[:5]
    np.testing.assert_array_equal(again.reconstruct(x), run.model.reconstruct(x))
    mean, std = run.encoder(torch.from_numpy(x))
    np.testing.assert_allclose(mean.detach(), again.encode(x)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.decoder(mean).detach(), again.decode(mean.detach().numpy()), rtol=1e-4, atol=1e-3)
    assert (std > 0).all()
    with pytest.raises(StoreError, match=r"vaelab\.load\(folder, encoder=\.\.\., decoder=\.\.\.\)"):
        vaelab.load(tmp_path / "run")
    if "encoder" in given:
        other = nn.Sequential(nn.Flatten(), nn.Linear(84, 6))
        with pytest.raises(StoreError):
            vaelab.load(tmp_path / "run", **{**modules, "encoder": other})


def test_the_estimator_takes_modules(data):
    model = vaelab.VAE(**SETTINGS, encoder=encoder(), decoder=decoder()).fit(data.x)
    assert model.transform(data.x[:4]).shape == (4, 3)
    assert model.sample(2, random_state=0).shape == (2, 6, 7, 2)


def test_modules_that_do_not_fit_are_refused_in_one_line(data, tmp_path):
    def refusal(**given):
        with pytest.raises(InputError) as caught:
            vaelab.train(data, SETTINGS, out=tmp_path / "run", **given)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()
        return str(caught.value)

    assert "(n, 6) for latent_dim = 3, but returned (n, 8)" in refusal(encoder=encoder(4))
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten())
    assert "`encoder` does not accept (n, 2, 6, 7): " in refusal(encoder=grey)
    assert "channels" in refusal(encoder=grey)
    assert "`decoder` does not accept (n, 3): " in refusal(decoder=decoder(4))
    small = nn.Sequential(nn.Linear(3, 70), nn.Unflatten(1, (2, 5, 7)))
    assert "must return (n, 2, 6, 7) or (n, 84), one value per pixel, but returned (n, 2, 5, 7)" in refusal(
        decoder=small
    )
    assert "must be a torch.nn.Module, but got str" in refusal(encoder="resnet")
    assert "`starts` must be 1" in refusal(encoder=encoder(), starts=2)
