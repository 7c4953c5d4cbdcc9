"""Training as a stack changes nothing: a member gets what it gets alone, bit for bit, and what plain PyTorch gives."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from vaelab.data import from_arrays
from vaelab.engine.networks import ACTIVATIONS
from vaelab.engine.seeds import derive_seed
from vaelab.engine.training import Stack, epochs, run_epoch
from vaelab.vae import epoch as vae_epoch
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational, stack_key
from vaelab.vae.spec import Spec

BASE = {"batch_size": 16, "epochs": 7, "activation": "silu", "device": "cpu"}  # 8 steps an epoch: 56 in all
# Different in everything that a stack lets differ; every padded width is the same.
MEMBERS = [
    {"latent_dim": 2, "hidden": (32, 17), "lr": 3e-3, "seed": 1},
    {"latent_dim": 9, "hidden": (20, 32), "lr": 1e-2, "seed": 2, "optimizer": "sgd", "beta": 0.5, "clip": 2.0},
    {"latent_dim": 5, "hidden": (7, 9), "lr": 2e-3, "seed": 3, "optimizer": "rmsprop", "beta": 4, "weight_decay": 0.1},
    {"latent_dim": 16, "hidden": (31, 3), "lr": 5e-3, "seed": 4, "optimizer": "adamw", "weight_decay": 0.2},
    {"latent_dim": 1, "hidden": (1, 1), "lr": 1e-2, "seed": 5, "beta": 0.25, "schedule": "cosine"},
    {"latent_dim": 2, "hidden": (32, 17), "lr": 3e-3, "seed": 1, "schedule": "constant"},
]

VARIANTS = {  # a tuple holds a value for each member
    "plain": {"likelihood": "bernoulli"},
    "gaussian": {"likelihood": "gaussian", "sigma": "feature"},
    "huber": {"likelihood": "huber", "sigma": "shared"},
    "dropout": {"likelihood": "bernoulli", "dropout": (0.1, 0.5, 0.2, 0.3, 0.15, 0.1)},
    "dynamic binarisation": {"likelihood": "bernoulli", "binarize": "dynamic"},
    "fixed binarisation": {"likelihood": "bernoulli", "binarize": "fixed"},
    "warm-up": {"likelihood": "bernoulli", "warmup": (3, 0, 1, 7, 2, 3)},
    "free bits": {"likelihood": "bernoulli", "free_bits": (0.1, 0.02, 1.0, 0.5, 0.2, 0.1)},
    "large layers": {"likelihood": "gaussian", "hidden": "130-140"},
    "mixture": {"likelihood": "bernoulli", "prior": "mixture", "components": 3, "pretrain": 3, "latent_dim": 5},
    "mixture, importance samples": {
        "likelihood": "gaussian",
        "prior": "mixture",
        "components": 10,
        "pretrain": 2,
        "latent_dim": 3,
        "samples": 3,
    },
    "vamp": {"likelihood": "bernoulli", "prior": "vamp", "components": 7, "latent_dim": 5, "dropout": 0.1},
    "importance samples": {"likelihood": "gaussian", "samples": 3, "dropout": 0.1},
}

# Those that fused kernels train, if they may.
DENSE = [name for name, settings in VARIANTS.items() if not {"prior", "samples"} & set(settings)]


@pytest.fixture(scope="module")
def images():
    """8-bit pictures: 160 rows of 5 x 5, of which 118 train; the last batch of an epoch is partial."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(168, 3)) @ rng.normal(size=(3, 25))
    return from_arrays((255 / (1 + np.exp(-factors))).astype(np.uint8).reshape(-1, 5, 5), seed=3)


def specs_of(data, **settings):
    def of(k, member):
        own = {name: value[k] if isinstance(value, tuple) else value for name, value in settings.items()}
        return resolve(Spec.create(**{**BASE, **member, **own}), data)

    return [of(k, member) for k, member in enumerate(MEMBERS)]


def trained(specs, feed, until=None):
    stack = Stack(specs, feed, Variational())
    records = list(epochs(stack, until))
    return stack, records


def everything(stack, k):
    """All that a member is: weights, best weights, moments and the state of its generator."""
    return (
        stack.parameters[k],
        stack.best[k],
        stack.optimizer.first[k],
        stack.optimizer.second[k],
        stack.generators[k].get_state(),
    )


def assert_same_bits(one, i, other, k):
    assert one.specs[i] == other.specs[k]
    assert one.best_loss[i] == other.best_loss[k]
    assert all(torch.equal(a, b) for a, b in zip(everything(one, i), everything(other, k), strict=True))


@pytest.mark.parametrize(
    ("variant", "engine"),
    [(name, "fused" if name in DENSE else "auto") for name in VARIANTS] + [(name, "autograd") for name in DENSE[::2]],
)
def test_a_member_gets_the_bits_that_it_gets_alone(images, variant, engine):
    specs = specs_of(images, **VARIANTS[variant], engine=engine)
    assert specs[0].fuses == (engine == "fused" and variant in DENSE)
    feed = Feed(images, specs[0])
    assert feed.rows("train").numel() % 16 != 0
    together, records = trained(specs, feed)
    assert together.epoch * together.steps_per_epoch >= 50
    # Autograd is slow: there the members of even or of odd number, in turn.
    for k in range(6) if engine == "fused" else range(list(VARIANTS).index(variant) % 2, 6, 2):
        spec = specs[k]
        alone, own_records = trained([spec], Feed(images, spec))
        assert_same_bits(alone, 0, together, k)
        assert [r[0] for r in own_records] == [r[k] for r in records]
        assert not torch.equal(alone.parameters[0], Stack([spec], feed, Variational()).parameters[0])  # it did train


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_activation_keeps_the_bits(images, activation, engine):
    specs = specs_of(images, likelihood="gaussian", activation=activation, engine=engine)
    feed = Feed(images, specs[0])
    together, _ = trained(specs, feed, until=1)
    for k in (0, 1, 4):
        assert_same_bits(trained([specs[k]], feed, until=1)[0], 0, together, k)


@pytest.mark.parametrize("variant", ["plain", "dropout", "gaussian"])
def test_company_size_and_order_change_no_bit(images, variant):
    specs = specs_of(images, **VARIANTS[variant])
    feed = Feed(images, specs[0])
    whole, _ = trained(specs, feed, until=3)
    for company in ([0, 1], [1, 0], [4, 0, 2], [5, 3, 1, 0], [0, 0, 0], [*range(6)][::-1], [k % 6 for k in range(17)]):
        stack, _ = trained([specs[k] for k in company], feed, until=3)
        for i, k in enumerate(company):
            assert_same_bits(stack, i, whole, k)


@pytest.mark.parametrize("variant", ["plain", "dropout", "dynamic binarisation"])
def test_members_that_leave_midway_change_no_bit_of_those_that_stay(images, variant):
    specs = specs_of(images, **VARIANTS[variant])
    feed = Feed(images, specs[0])
    whole, records = trained(specs, feed)
    stack, alive = Stack(specs, feed, Variational()), list(range(6))
    for epoch, keep in ((2, [0, 1, 3, 5]), (4, [3, 1]), (6, [1]), (None, None)):
        for own in epochs(stack, epoch):
            assert own == [records[stack.epoch - 1][k] for k in alive]
        if keep is not None:
            stack.select(keep)
            alive = [alive[i] for i in keep]
    assert alive == [1]
    assert_same_bits(stack, 0, whole, 1)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_noise_blocks_depend_on_the_spec_and_change_nothing_between_companies(images, monkeypatch, engine):
    """With blocks of 2 batches every epoch has several; alone and together must still agree."""
    specs = specs_of(images, likelihood="bernoulli", dropout=0.1, engine=engine)
    feed = Feed(images, specs[0])
    monkeypatch.setattr(vae_epoch, "NOISE_FLOATS", 35 * (16 + 2 * 64))
    assert len(list(vae_epoch.noise_blocks(Stack(specs, feed, Variational()), 118))) == 4
    together, _ = trained(specs, feed, until=3)
    for k in (0, 3):
        assert_same_bits(trained([specs[k]], feed, until=3)[0], 0, together, k)


def test_stacks_of_different_keys_are_refused(images):
    specs = specs_of(images, likelihood="bernoulli")
    with pytest.raises(AssertionError, match="share their key"):
        Stack([specs[0], specs[1].replace(hidden="64-32")], Feed(images, specs[0]), Variational())


def test_key_separates_what_a_stack_cannot_mix_and_joins_the_rest(images):
    spec = specs_of(images, likelihood="bernoulli")[0]
    key = stack_key(spec, 25)
    apart = [
        {"hidden": "64-17"}, {"hidden": "32"}, {"latent_dim": 33}, {"activation": "relu"}, {"dropout": 0.1},
        {"batch_size": 8}, {"epochs": 8}, {"samples": 2}, {"free_bits": 0.1}, {"likelihood": "gaussian"},
        {"binarize": "dynamic"}, {"prior": "mixture"},
    ]  # fmt: skip
    assert all(stack_key(spec.replace(**change), 25) != key for change in apart)
    mixed = spec.replace(prior="mixture", components=3, pretrain=2)
    for change in {"components": 4}, {"covariance": "diag"}, {"pretrain": 1}, {"latent_dim": spec.latent_dim + 1}:
        assert stack_key(mixed.replace(**change), 25) != stack_key(mixed, 25)
    joined = [
        {"hidden": "1-1"}, {"latent_dim": 16}, {"lr": 0.5}, {"beta": 3.0}, {"optimizer": "sgd"}, {"weight_decay": 0.1},
        {"seed": 9}, {"clip": 1.0}, {"warmup": 2}, {"schedule": "constant"},
    ]  # fmt: skip
    assert all(stack_key(spec.replace(**change), 25) == key for change in joined)


# An independent implementation: one unpadded nn.Module per member, autograd, torch.optim, torch's own schedules.


class PlainVAE(nn.Module):
    """An ordinary VAE of nn.Linear layers, in the member's own widths."""

    def __init__(self, features, hidden, latent, own):
        super().__init__()

        def chain(widths):
            layers = []
            for n_in, n_out in itertools.pairwise(widths):
                layers += [nn.Linear(n_in, n_out), nn.SiLU()]
            return nn.Sequential(*layers[:-1])

        self.encoder, self.decoder = chain([features, *hidden, 2 * latent]), chain([latent, *hidden[::-1], features])
        for part in ("encoder", "decoder"):
            for i, linear in enumerate(m for m in getattr(self, part) if isinstance(m, nn.Linear)):
                linear.weight = nn.Parameter(own[f"{part}.{i}.weight"].T.clone())
                linear.bias = nn.Parameter(own[f"{part}.{i}.bias"][0].clone())
        self.raw_scale = nn.Parameter(own["likelihood.scale"].clone()) if "likelihood.scale" in own else None

    def weights(self):
        """The parameters under the names and in the shapes of the stack."""
        named = {}
        for part in ("encoder", "decoder"):
            for i, linear in enumerate(m for m in getattr(self, part) if isinstance(m, nn.Linear)):
                named[f"{part}.{i}.weight"], named[f"{part}.{i}.bias"] = (
                    linear.weight.detach().T,
                    linear.bias.detach()[None],
                )
        return named if self.raw_scale is None else named | {"likelihood.scale": self.raw_scale.detach()}

    def loss(self, x, noise, beta, floor):
        mean, log_var = self.encoder(x).chunk(2, -1)
        q = torch.distributions.Normal(mean, torch.exp(log_var / 2))
        outputs = self.decoder(mean + q.stddev * noise)
        if self.raw_scale is None:
            distortion = nn.functional.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(-1)
        else:
            scale = floor + self.raw_scale.exp()
            distortion = -torch.distributions.Normal(outputs, scale.expand_as(outputs)).log_prob(x).sum(-1)
        prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
        return (distortion + beta * torch.distributions.kl_divergence(q, prior).sum(-1)).mean()


OPTIMIZERS = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop,
}  # fmt: skip


def train_plainly(spec, feed, own, dtype):
    """The member's training as anyone would write it.

    Chance is drawn as training.Stack draws it: the generator of a member is seeded by derive_seed(seed, 1); an epoch
    takes from it a permutation of the training rows, then normals (rows, samples, latent_dim) for all rows of a block;
    here an epoch is one block.
    """
    model = PlainVAE(feed.features, spec.hidden_sizes, spec.latent_dim, own).to(dtype)
    optimizer = OPTIMIZERS[spec.optimizer](model.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    generator = torch.Generator().manual_seed(derive_seed(spec.seed, 1))
    rows = torch.from_numpy(feed.data.splits["train"])
    x_own = torch.from_numpy(feed.data.flat.astype(np.float32))
    n, B, step = len(rows), spec.batch_size, 0
    steps = spec.epochs * math.ceil(n / B)
    mean: dict[str, torch.Tensor] = {}
    for _ in range(spec.epochs):
        order = rows[torch.randperm(n, generator=generator)]
        noise = torch.randn(n, 1, spec.latent_dim, generator=generator)[:, 0].to(dtype)
        for start in range(0, n, B):
            # The learning rate by its definition: constant, half a cosine, or up by a cosine and down again.
            share, factor = step / (steps - 1), 1.0
            if spec.schedule == "cosine":
                factor = 0.5 * (1 + math.cos(math.pi * step / steps))
            elif spec.schedule == "averaged":
                factor = min(1, (step + 1) / (steps // 10))
            elif spec.schedule == "one-cycle":
                low, there = (0.04, (0.3 - share) / 0.3) if share < 0.3 else (4e-6, (share - 0.3) / 0.7)
                factor = low + (1 - low) * (1 + math.cos(math.pi * there)) / 2
            optimizer.param_groups[0]["lr"] = spec.lr * factor
            if spec.likelihood == "bernoulli":
                x = x_own[order[start : start + B]].to(dtype) / 255
            else:
                x = x_own[order[start : start + B]].to(dtype)
            optimizer.zero_grad()
            model.loss(x, noise[start : start + B], spec.beta, 1e-3).backward()
            nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
            optimizer.step()
            step += 1
        # An exponential mean over a tenth of the steps so far, renewed after an epoch of fewer than 32 steps.
        share = min(1.0, math.ceil(n / B) / (0.1 * step)) if spec.schedule == "averaged" else 1.0
        found = {name: w.clone() for name, w in model.weights().items()}
        mean = {name: mean[name] + share * (w - mean[name]) for name, w in found.items()} if mean else found
    assert step == steps >= 50
    return mean


@pytest.fixture(scope="module")
def table():
    """168 rows of 6 columns."""
    rng = np.random.default_rng(1)
    return from_arrays(rng.normal(size=(168, 2)) @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(168, 6)), seed=1)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_member_follows_plain_torch_to_float32_rounding(images, table, likelihood, monkeypatch):
    """Fused; autograd follows it in double precision, below."""
    monkeypatch.setattr(Feed, "gather", plain_gather(torch.float32))
    compare_with_torch(images if likelihood == "bernoulli" else table, likelihood, torch.float32, 1e-5, engine="fused")


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_member_follows_plain_torch_in_double_precision(images, table, likelihood, monkeypatch):
    """Autograd, all in float64. What is left is torch's clipping, which adds 1e-6 to the norm: here none clips."""
    monkeypatch.setattr(Feed, "gather", plain_gather(torch.float64))
    randn = torch.randn  # the noise is drawn in float32 on both sides
    monkeypatch.setattr(torch, "randn", lambda *n, dtype=torch.float32, **kw: randn(*n, dtype=dtype, **kw))
    torch.set_default_dtype(torch.float64)
    try:
        data = images if likelihood == "bernoulli" else table
        compare_with_torch(data, likelihood, torch.float64, 1e-12, clip=1e9, engine="autograd")
    finally:
        torch.set_default_dtype(torch.float32)


def plain_gather(dtype):
    """Images in [0, 1], tables as they are: scaling is tested elsewhere, and only in float32."""

    def gather(feed, rows, uniform=None):
        x = torch.from_numpy(feed.data.flat).index_select(0, rows).to(dtype)
        return x / 255 if feed.data.is_8bit else x

    return gather


def compare_with_torch(data, likelihood, dtype, tolerance, **settings):
    specs = specs_of(data, likelihood=likelihood, sigma="feature", **settings)
    feed = Feed(data, specs[0])
    stack = Stack(specs, feed, Variational())
    stack.parameters += 0.01 * (stack.parameters != 0)  # no weight that matters starts at exactly 0
    assert stack.parameters.dtype == dtype
    start = [stack.model.unpad(row, spec) for row, spec in zip(stack.parameters.clone(), specs, strict=True)]
    for _ in range(specs[0].epochs):
        run_epoch(stack)
        stack.epoch += 1
    for k, (spec, own) in enumerate(zip(stack.specs, start, strict=True)):
        expected = train_plainly(spec, feed, own, dtype)
        found = stack.model.unpad(stack.judged[k].detach(), spec)
        assert list(found) == list(expected)
        assert all(found[name].shape == expected[name].shape for name in expected)
        ours, theirs, before = (torch.cat([w[name].flatten() for name in expected]) for w in (found, expected, own))
        assert float((ours - theirs).abs().max()) < tolerance, spec.optimizer
        assert float((ours - before).abs().max()) > 0.02
