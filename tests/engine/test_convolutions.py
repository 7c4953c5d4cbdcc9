"""Stacked convolutions and norms against torch.nn, member by member: training and evaluation, forward and gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from vaelab import store
from vaelab.data import from_arrays
from vaelab.engine import convolutions
from vaelab.engine.convolutions import Generator, Trunk, as_maps, as_rows
from vaelab.engine.kernels import double, halve, halve_by_maximum, keep
from vaelab.engine.networks import Training
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.vae import evaluate
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.run import train
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
K, B = 3, 4


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(shape, seed=1, members=K):
    return random(members, B, shape[0] * shape[1] * shape[2], seed=seed)


def assert_like(layer, modules, parameters, maps, names):
    """A stacked layer and one module per member agree on outputs, and on gradients of inputs and parameters."""
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    maps = maps.requires_grad_()
    found = layer(leaves, maps)
    weights = random(*found.shape, seed=9)
    (found * weights).sum().backward()
    members = len(modules)
    for k, module in enumerate(modules):
        own = maps.detach().unflatten(1, (members, -1))[:, k].requires_grad_()
        expected = module(own)
        torch.testing.assert_close(found.unflatten(1, (members, -1))[:, k], expected, **CLOSE)
        (expected * weights.unflatten(1, (members, -1))[:, k]).sum().backward()
        torch.testing.assert_close(maps.grad.unflatten(1, (members, -1))[:, k], own.grad, **CLOSE)
        for name, (of_module, as_ours) in names.items():
            torch.testing.assert_close(leaves[name].grad[k], as_ours(getattr(module, of_module).grad), **CLOSE)


def to_ours(weight):
    """torch's (out, in, height, width) as (out, height, width, in)."""
    return weight.permute(0, 2, 3, 1)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 5)])
def test_convolve_is_conv2d(members, stride, kernel):
    modules = [nn.Conv2d(2, 5, kernel, stride, kernel // 2, dtype=torch.float64) for _ in range(members)]
    parameters = {
        "c.weight": torch.stack([to_ours(m.weight.detach()) for m in modules]),
        "c.bias": torch.stack([m.bias.detach() for m in modules]),
    }
    names = {"c.weight": ("weight", to_ours), "c.bias": ("bias", lambda b: b)}
    maps = as_maps(images((9, 6, 2), members=members), (9, 6, 2))
    assert_like(lambda p, x: convolutions.convolve(p, "c", x, stride), modules, parameters, maps, names)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("size", [(9, 6), (10, 5)])
@pytest.mark.parametrize(
    ("kernel", "channels"), [(3, 5), (3, 1), (5, 5), (7, 3)]
)  # few channels, large kernels: pixels
def test_convolve_transposed_is_conv_transpose2d(members, size, kernel, channels):
    half = tuple(-(-n // 2) for n in size)
    more = tuple(1 - n % 2 for n in size)
    modules = [
        nn.ConvTranspose2d(2, channels, kernel, 2, kernel // 2, more, dtype=torch.float64) for _ in range(members)
    ]
    parameters = {
        "c.weight": torch.stack([to_ours(m.weight.detach()) for m in modules]),
        "c.bias": torch.stack([m.bias.detach() for m in modules]),
    }
    names = {"c.weight": ("weight", to_ours), "c.bias": ("bias", lambda b: b)}
    maps = as_maps(images((*half, 2), members=members), (*half, 2))
    assert modules[0](maps[:, :2]).shape[2:] == size
    layer = lambda p, x: convolutions.convolve_transposed(p, "c", x, size)  # noqa: E731
    assert_like(layer, modules, parameters, maps, names)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("doubles", [True, False])
def test_gradients_of_halving_and_doubling_come_alone_as_together(doubles, wanted):
    x, y = random(B, 2 * 3, 9, 6, seed=1), random(B, 2 * 5, 5, 3, seed=2)
    weight, bias = random(2, 5, 3, 3, 3, seed=3), random(2, 3 if doubles else 5, seed=4)
    maps, other = (y, x) if doubles else (x, y)
    apply = (lambda m, w, b: double(m, w, (9, 6), b)) if doubles else halve
    given = [value.requires_grad_() for value in (maps, weight, bias)]
    together = torch.autograd.grad(apply(*given), given, other)
    alone = [value.detach().requires_grad_(asked) for value, asked in zip(given, wanted, strict=True)]
    (found,) = torch.autograd.grad(apply(*alone), [value for value in alone if value.requires_grad], other)
    torch.testing.assert_close(found, together[wanted.index(True)])


@pytest.mark.parametrize(("size", "kernel"), [((5, 4), 3), ((4, 4), 5), ((1, 9), 3)])
def test_small_maps_in_bfloat16_have_the_gradients_of_conv2d(size, kernel):
    """These are computed as one product; the reference is float64 on the same rounded numbers.

    Processors without instructions for bfloat16 also round partial sums.
    """
    side = (1 if size[0] == 1 else kernel, kernel)
    x, dy = random(B, 128, *size, seed=1).bfloat16(), random(B, 130, *size, seed=2).bfloat16()
    weight, bias = (random(1, 130, *side, 128, seed=3) / 50).bfloat16(), random(1, 130, seed=4).bfloat16()
    given = [value.requires_grad_() for value in (x, weight, bias)]
    y = keep(*given)
    assert type(y.grad_fn).__name__ == "_KeepBackward"
    found = torch.autograd.grad(y, given, dy)
    exact = [value.detach().double().requires_grad_() for value in given]
    module = torch.nn.functional.conv2d(
        exact[0], exact[1][0].permute(0, 3, 1, 2), exact[2][0], 1, tuple(n // 2 for n in side)
    )
    torch.testing.assert_close(y.double(), module, rtol=2**-7, atol=0.02)
    for ours, reference in zip(found, torch.autograd.grad(module, exact, dy.double()), strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=2**-7, atol=2**-7 * float(reference.abs().max()))


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 9)])
def test_halving_by_maximum_is_max_pool2d_with_its_gradient(size):
    x = random(B, 3, *size).round()  # rounded: many are equal, and the first of these takes the gradient
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled = torch.nn.MaxPool2d([min(2, n) for n in size], ceil_mode=True)(x)
    torch.testing.assert_close(halve_by_maximum(x), pooled, rtol=0, atol=0)
    dy = random(*pooled.shape, seed=2)
    (found,), (expected,) = (torch.autograd.grad(y, x, dy) for y in (halve_by_maximum(x), pooled))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_products_count_every_convolution_at_the_size_it_works_at():
    """4 x 4 pixels: stem at 16; the pooled convolution too, its block at 4."""
    shape = (4, 4, 3)
    assert Trunk("t", shape, (5,), blocks=1).products == 4 * 9 * (3 * 5 + 2 * 5 * 5)
    assert Trunk("t", shape, (5,), blocks=1, pooling=True, stem=2).products == 9 * (
        16 * (3 * 2 + 2 * 5) + 4 * 2 * 5 * 5
    )


def test_curves_are_conv1d_and_conv_transpose1d():
    """Height 1: the kernel is 1 high, and stride 2 halves the length alone."""
    down, up = (kind(2, 5, 3, 2, 1, dtype=torch.float64) for kind in (nn.Conv1d, nn.ConvTranspose1d))
    x = random(B, 2, 1, 37)
    for module, apply, small in (
        (down, lambda p, y: convolutions.convolve(p, "c", y, 2), x),
        (up, lambda p, y: convolutions.convolve_transposed(p, "c", y, (1, 37)), x[..., :19]),
    ):
        own = {"c.weight": to_ours(module.weight.detach()[:, :, None])[None], "c.bias": module.bias.detach()[None]}
        torch.testing.assert_close(apply(own, small)[:, :, 0], module(small[:, :, 0]), **CLOSE)


@pytest.mark.parametrize("members", [1, 3])
def test_group_norm_is_nn_group_norm(members):
    modules = [nn.GroupNorm(4, 12, dtype=torch.float64) for _ in range(members)]
    assert convolutions.GROUPS == 8  # of 12 channels no 8 groups can be made: 4
    scale, shift = random(members, 12, seed=2), random(members, 12, seed=3)
    for module, *own in zip(modules, scale, shift, strict=True):
        module.weight.data, module.bias.data = (value.clone() for value in own)
    names = {"n.scale": ("weight", lambda g: g), "n.shift": ("bias", lambda g: g)}
    maps = as_maps(images((4, 5, 12), members=members), (4, 5, 12))
    layer = lambda p, x: convolutions.group_norm(p, "n", x)  # noqa: E731
    assert_like(layer, modules, {"n.scale": scale, "n.shift": shift}, maps, names)


@pytest.mark.parametrize("members", [1, 3])
def test_batch_norm_is_nn_batch_norm_in_training_and_in_evaluation(members):
    modules = [nn.BatchNorm2d(3, dtype=torch.float64) for _ in range(members)]
    own = {"n.scale": random(members, 3, seed=2), "n.shift": random(members, 3, seed=3)}
    # Views into rows that hold more than the statistics, as a stack keeps them.
    rows = torch.cat([torch.zeros(members, 3), torch.ones(members, 3), torch.zeros(members, 1)], 1).double()
    running = {"n.mean": rows[:, :3], "n.var": rows[:, 3:6]}
    for k, module in enumerate(modules):
        module.weight.data, module.bias.data = own["n.scale"][k].clone(), own["n.shift"][k].clone()
    names = {"n.scale": ("weight", lambda g: g), "n.shift": ("bias", lambda g: g)}
    for mode in (Training, Training, dict):
        for module in modules:
            module.train(mode is Training).zero_grad()
        maps = as_maps(images((4, 5, 3), members=members, seed=5) + 2, (4, 5, 3))
        leaves = {name: value.detach().clone() for name, value in own.items()}
        layer = lambda p, x: convolutions.batch_norm(mode(p | running), "n", x)  # noqa: B023, E731
        assert_like(layer, modules, leaves, maps, names)
        for k, module in enumerate(modules):
            torch.testing.assert_close(rows[k, :3], module.running_mean, **CLOSE)
            torch.testing.assert_close(rows[k, 3:6], module.running_var, **CLOSE)
    assert float((rows[:, :3] - 0).abs().max()) > 0.1  # they did move


def test_batch_norm_of_one_value_takes_the_running_statistics():
    own = {"n.scale": torch.ones(1, 2), "n.shift": torch.zeros(1, 2)}
    running = {"n.mean": torch.full((1, 2), 3.0), "n.var": torch.full((1, 2), 4.0)}
    y = convolutions.batch_norm(Training(own | running), "n", torch.full((1, 2, 1, 1), 5.0))
    torch.testing.assert_close(y.flatten(), torch.tensor([1.0, 1.0]), rtol=1e-4, atol=1e-4)
    assert running["n.mean"].eq(3).all()


def test_maps_and_rows_are_inverse_and_one_member_needs_no_copy():
    shape = (3, 4, 5)
    for members in (1, 3):
        x = images(shape, members=members)
        maps = as_maps(x, shape)
        assert maps.shape == (B, members * 5, 3, 4)
        assert maps[2, (members - 1) * 5 + 3, 1, 2] == x.view(members, B, *shape)[members - 1, 2, 1, 2, 3]
        assert torch.equal(as_rows(maps, members), x)
        assert (maps.data_ptr() == x.data_ptr()) == (members == 1)
    assert as_rows(as_maps(x[:1], shape), 1).data_ptr() == x.data_ptr()


SHAPES = [(28, 28, 1), (33, 20, 3), (8, 8, 2), (5, 7, 1), (1, 37, 1), (1, 20, 2)]


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize(("shape", "pooling"), [*itertools.product(SHAPES, [False]), (SHAPES[1], True)])
def test_networks_stack_and_give_back_every_size(shape, pooling, norm):
    """A member of three is what it is alone; sizes that are odd come back exactly."""
    channels = (4, 8, 8)
    trunk = Trunk("t", shape, channels, blocks=1, norm=norm, pooling=pooling)
    generator = Generator("g", shape, channels, blocks=1, norm=norm)
    members = [
        {
            n: v.double()
            for part in (trunk, generator)
            for n, v in part.initial(torch.Generator().manual_seed(s)).items()
        }
        for s in range(K)
    ]
    assert {n: tuple(v.shape) for n, v in members[0].items()} == (
        trunk.shapes | trunk.statistics | generator.shapes | generator.statistics
    )
    for weights in members:  # the residual blocks start silent
        for name in weights:
            if name.endswith(("outer.scale", "outer.weight")):
                weights[name] += 0.3
    x = images(shape)
    together = Training({name: torch.stack([m[name] for m in members]) for name in members[0]})
    features = trunk(together, x)
    outputs = generator(together, features)
    assert features.shape == (K, B, trunk.features) == (K, B, generator.features)
    assert outputs.shape == x.shape
    for k, weights in enumerate(members):
        alone = Training({name: value[None].clone() for name, value in weights.items()})
        torch.testing.assert_close(trunk(alone, x[k : k + 1])[0], features[k], **CLOSE)
        torch.testing.assert_close(generator(alone, features[k : k + 1])[0], outputs[k], **CLOSE)
        for name in trunk.statistics | generator.statistics:
            torch.testing.assert_close(alone[name][0], together[name][k], **CLOSE)


def test_signals_neither_fade_nor_grow_at_the_start():
    """Unit variance in, about as much after every stage and block, by the initial weights alone."""
    for norm in ("none", "batch", "group"):
        trunk = Trunk("t", (28, 28, 1), (32, 64), blocks=2, norm=norm)
        own = trunk.initial(torch.Generator().manual_seed(0))
        x = torch.randn(1, 50, 784, generator=torch.Generator().manual_seed(1))
        spread = float(trunk(Training({n: v[None] for n, v in own.items()}), x).std())
        assert 0.2 < spread < 1.5


def test_what_does_not_fit_is_said():
    assert convolutions.why_unfit((28, 28, 1), (32, 64), 3) is None
    assert convolutions.why_unfit((1, 37, 1), (32, 64), 3) is None
    assert "at most the smaller side" in convolutions.why_unfit((28, 5, 1), (32,), 7)
    assert "37 points" in convolutions.why_unfit((1, 37, 1), (32,), 39)
    assert "halved 3 times" in convolutions.why_unfit((8, 8, 1), (4, 4, 4, 4), 3)


def pictures(shape, n=160, dtype=np.uint8):
    """Images of a disc of random place and brightness, (n, *shape)."""
    rng = np.random.default_rng(0)
    H, W = shape[:2]
    y, x = np.mgrid[:H, :W]
    place = rng.uniform(0.25, 0.75, (n, 2)) * [H, W]
    near = (y - place[:, :1, None]) ** 2 + (x - place[:, 1:, None]) ** 2 < (min(H, W) / 4) ** 2
    images = near[..., None] * rng.uniform(0.4, 1, (n, 1, 1, math.prod(shape[2:])))
    return (255 * images).astype(dtype).reshape(n, *shape)


CONV = {"network": "conv", "channels": "4-8", "latent_dim": 3, "hidden": "16", "epochs": 2, "batch_size": 16,
        "device": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def rgb():
    return from_arrays(pictures((20, 33, 3)), seed=1)


def specs_of(data, *changes, **settings):
    return [resolve(Spec.create(**{**CONV, **settings, **change}), data) for change in changes or [{}]]


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_encoder_and_decoder_as_torch_modules_are_the_model(rgb, norm, likelihood):
    """Under a density pixels that are constant in training are left out of the rows, not out of the images."""
    images = rgb.x / np.float32(255)
    images[:, 3:5, 7] = 0.5
    data = from_arrays(images, seed=1)
    (spec,) = specs_of(data, norm=norm, likelihood=likelihood, blocks=1, kernel=5)
    feed = Feed(data, spec)
    stack = Stack([spec], feed, Variational())
    list(epochs(stack))
    assert (feed.grid.kept is None) == (likelihood == "bernoulli")
    own = stack.model.unpad(stack.rows[0].detach().double(), spec)
    own = {name: value + 0.05 * random(*value.shape) for name, value in own.items()}  # no block stays silent
    fitted = Fitted.of(feed, spec, stack.model.pad(own, spec))
    x = images[:7]
    mean, std = fitted.encode(x)
    found = fitted.encoder(torch.from_numpy(x).double())
    for ours, theirs in zip((mean, std), found, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-6, atol=1e-6)
    out = fitted.decoder(mean).detach().numpy()
    assert out.shape == (7, 20, 33, 3)
    np.testing.assert_allclose(fitted.decode(mean), out, rtol=1e-6, atol=1e-6)
    if likelihood == "gaussian":
        assert np.allclose(out[:, 3:5, 7], 0.5)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_run_comes_back_whole(rgb, norm, tmp_path):
    run = train(rgb, Spec.create(**CONV, norm=norm), out=tmp_path / "run", figures=False)
    again = Fitted.load(run.folder)
    assert torch.equal(again.row, run.model.row)
    assert set(store.load_run(run.folder).weights) >= set(again.model.statistics.blocks)
    assert np.isfinite(again.reconstruct(rgb.x[:3])).all()
    if norm == "batch":  # it judges by the running statistics, which are no longer those of the start
        assert float(again.parameters["encoder.maps.0.mean"].abs().max()) > 0


def test_resume_is_bit_exact_with_running_statistics(rgb):
    (spec,) = specs_of(rgb, norm="batch", epochs=4)
    feed = Feed(rgb, spec)
    whole, half, rest = (Stack([spec], feed, Variational()) for _ in range(3))
    list(epochs(whole))
    list(epochs(half, until=2))
    rest.restore([half.member_state(0)])
    list(epochs(rest))
    for name in ("parameters", "statistics", "best"):
        assert torch.equal(getattr(rest, name), getattr(whole, name))
    assert whole.statistics.shape[1] > 0


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_a_member_of_a_stack_is_what_it_is_alone(rgb, norm):
    """As groups of channels, which CUDA takes: the same to rounding, since on a CPU groups are summed otherwise."""
    specs = specs_of(rgb, {"seed": 1}, {"seed": 2, "lr": 5e-3}, {"seed": 3, "beta": 2.0}, norm=norm, epochs=1)
    feed = Feed(rgb, specs[0])
    together = Stack(specs, feed, Variational())
    list(epochs(together))
    for k, spec in enumerate(specs):
        alone = Stack([spec], feed, Variational())
        list(epochs(alone))
        torch.testing.assert_close(together.rows[k], alone.rows[0], rtol=1e-3, atol=2e-4)
    together.select([2])
    assert together.statistics.shape[0] == len(together.best) == 1


def test_bfloat16_is_near_float32_and_trains_float32_parameters(rgb, monkeypatch):
    monkeypatch.setattr("vaelab.engine.resolve.has_bfloat16", lambda device: True)
    (spec,), (half,) = specs_of(rgb), specs_of(rgb, precision="bf16")
    found = []
    for s in (spec, half):
        stack = Stack([s], Feed(rgb, s), Variational())
        assert stack.parameters.dtype == torch.float32
        found.append(list(epochs(stack))[-1][0].validation["neg_elbo"])
    assert found[0] != found[1]
    assert abs(found[0] - found[1]) < 0.01 * found[0]
    monkeypatch.setattr("vaelab.engine.resolve.has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match="multiplies bfloat16"):
        specs_of(rgb, precision="bf16")


def test_digits_learn_more_by_convolutions(digits):
    """8 x 8 images in seconds: far below the model without latents, and at least level with dense layers."""
    found = {}
    for network in ("mlp", "conv"):
        settings = {"channels": "32-64", "blocks": 0, "kernel": 3, "epochs": 12, "hidden": "64", "device": "cpu"}
        spec = resolve(Spec.create(network=network, **settings), digits)
        stack = Stack([spec], Feed(digits, spec), Variational())
        found[network] = min(r.validation["neg_elbo"] for (r,) in epochs(stack))
    assert found["conv"] < found["mlp"] + 0.3
    assert found["conv"] < evaluate.baseline(stack.feed, "validation").as_dict()["no_latents"] - 1


def test_bad_input_is_one_line(rgb):
    with pytest.raises(InputError, match="smaller side of an example, but got 21 for 20 x 33"):
        specs_of(rgb, kernel=21)
    with pytest.raises(InputError, match="6 times; use fewer"):
        specs_of(rgb, channels="4-4-4-4-4-4-4")
    table = from_arrays(np.random.default_rng(0).normal(size=(50, 4)), features=["a", "b", "c", "d"])
    with pytest.raises(InputError, match="table with named columns"):
        specs_of(table)
    assert specs_of(from_arrays(np.random.default_rng(0).normal(size=(50, 37))))[0].network == "conv"
