"""Stacked layers against chains of torch.nn.Linear, member by member, and padding that stays silent."""

import numpy as np
import pytest
import torch
from torch import nn

from vaelab.engine.networks import ACTIVATIONS, MLP, Layout, bucket, initial_dense
from vaelab.engine.optimizers import RULES, Optimizer
from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.model import Model
from vaelab.vae.objectives import Noise, Weights, elbo
from vaelab.vae.spec import Spec

MODULES = {
    "silu": nn.SiLU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "elu": nn.ELU,
}  # fmt: skip


def stacked(widths, members, seed=0):
    """Random float64 parameters (K, *shape) of an MLP through `widths`, biases included."""
    generator = torch.Generator().manual_seed(seed)
    shapes = MLP("m", widths, "relu").shapes
    return {
        name: torch.randn(members, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def reference(parameters, k, activation, layers):
    """Member k as an nn.Sequential; nn.Linear keeps its weight as (out, in)."""
    modules = []
    for i in range(layers):
        w, b = parameters[f"m.{i}.weight"][k], parameters[f"m.{i}.bias"][k]
        linear = nn.Linear(*w.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = w.T.clone(), b[0].clone()
        modules += [linear, MODULES[activation]()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("widths", [(5, 3), (5, 8, 3), (5, 8, 6, 3)])
def test_every_member_is_a_chain_of_linear_layers_forward_and_backward(activation, widths):
    K, layers = 3, len(widths) - 1
    parameters = {n: p.requires_grad_() for n, p in stacked(widths, K).items()}
    x = torch.randn(K, 4, widths[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = MLP("m", widths, activation)(parameters, x)
    (y * torch.arange(1.0, 4)[:, None, None]).square().sum().backward()
    for k in range(K):
        chain = reference({n: p.detach() for n, p in parameters.items()}, k, activation, layers)
        expected = chain(x[k])
        torch.testing.assert_close(y[k], expected, rtol=1e-12, atol=1e-12)
        (expected * (k + 1)).square().sum().backward()
        for i, linear in enumerate(m for m in chain if isinstance(m, nn.Linear)):
            weight, bias = parameters[f"m.{i}.weight"].grad[k], parameters[f"m.{i}.bias"].grad[k, 0]
            torch.testing.assert_close(weight, linear.weight.grad.T, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(bias, linear.bias.grad, rtol=1e-11, atol=1e-11)


def test_dropout_multiplies_each_hidden_output_and_no_other():
    parameters = stacked((5, 8, 6, 3), 2)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    keep = [2.0 * (torch.rand(2, 4, width) < 0.5) for width in (8, 6)]
    y = MLP("m", (5, 8, 6, 3), "tanh")(parameters, x, keep)
    for k in range(2):
        chain = reference(parameters, k, "tanh", 3)
        h = chain[1](chain[0](x[k])) * keep[0][k]
        h = chain[3](chain[2](h)) * keep[1][k]
        torch.testing.assert_close(y[k], chain[4](h), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_activation_maps_zero_to_zero_exactly(name):
    assert ACTIVATIONS[name](torch.zeros(40)).abs().max() == 0


def test_bucket_is_wide_enough_never_falls_and_wastes_less_than_half():
    buckets = [bucket(n) for n in range(1, 2000)]
    assert all(b >= n for n, b in enumerate(buckets, 1))
    assert buckets == sorted(buckets)
    assert all(bucket(b) == b for b in buckets)
    assert all(b < 2 * n for n, b in enumerate(buckets, 1) if n >= 32)


def test_layout_views_share_the_buffer_and_cover_it_once():
    layout = Layout({"a": (2, 3), "b": (1, 4), "c": (5,)})
    assert layout.size == 16  # a multiple of 16, so that every member's row starts on a 64-byte boundary
    buffer = torch.arange(2.0 * 16).view(2, 16)
    views = layout.views(buffer)
    flat = torch.cat([v.reshape(2, -1) for v in views.values()], 1)
    assert torch.equal(flat, buffer[:, :15])
    views["b"][1] = -1
    assert (buffer[1, 6:10] == -1).all()


@pytest.mark.parametrize("batch", [1, 3, 11, 16, 91])
@pytest.mark.parametrize("widths", [(16, 32), (32, 16), (32, 48), (32, 32), (128, 256)], ids=str)
def test_a_layer_gives_a_member_the_same_bits_at_any_place_in_a_stack(batch, widths):
    """Widths that are no multiple of 16 would move its matrices off the boundaries on which they start alone."""
    mlp = MLP("m", widths, "relu")
    layout = Layout(mlp.shapes)
    generator = torch.Generator().manual_seed(batch)
    rows, x, upstream = (
        torch.randn(5, *shape, generator=generator)
        for shape in ((layout.size,), (batch, widths[0]), (batch, widths[1]))
    )

    def results(members):
        leaves = {n: v.requires_grad_() for n, v in layout.views(rows[members].clone()).items()}
        inputs = [x[members].clone().requires_grad_(), *leaves.values()]
        y = mlp(leaves, inputs[0])
        return [y, *torch.autograd.grad(y, inputs, upstream[members])]

    together = results(slice(None))
    for k in range(5):
        alone = results(slice(k, k + 1))
        assert all(torch.equal(a[0], b[k]) for a, b in zip(alone, together, strict=True))


def test_initial_weights_have_variance_one_over_inputs_and_zero_biases():
    weights = initial_dense("m", (300, 200, 5), torch.Generator().manual_seed(0))
    assert all((w == 0).all() for n, w in weights.items() if n.endswith("bias"))
    w = weights["m.0.weight"]
    bound = (3 / 300) ** 0.5
    assert w.abs().max() <= bound
    assert w.abs().max() > 0.999 * bound
    # The variance of n draws of a uniform has relative standard error sqrt(0.8 / n).
    assert abs(float(w.double().var()) * 300 - 1) < 4 * (0.8 / w.numel()) ** 0.5


@pytest.mark.parametrize("features", [1, 5, 13, 16, 25, 784])
@pytest.mark.parametrize("hidden", [(), (7,), (33, 300)])
def test_every_matrix_of_a_model_has_widths_in_multiples_of_16(features, hidden):
    spec = Spec(hidden=hidden, latent_dim=3, likelihood="gaussian")
    model = model_of(spec, features)
    weights = [block for block in model.layout if block.name.endswith("weight")]
    assert weights
    assert all(n % 16 == 0 for block in weights for n in block.shape)
    assert model.layout.size % 16 == 0


MEMBERS = [
    {"latent_dim": 1, "hidden": (1,)},
    {"latent_dim": 5, "hidden": (33,)},
    {"latent_dim": 32, "hidden": (32,)},
    {"latent_dim": 3, "hidden": (40, 20)},
    {"latent_dim": 33, "hidden": ()},
    {"latent_dim": 2, "hidden": (130, 7, 260)},
]


def model_of(spec, features=7):
    return Model.for_spec(spec, features, likelihood_for(spec, is_image=False))


@pytest.mark.parametrize("member", MEMBERS, ids=str)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_pad_and_unpad_are_inverses(member, likelihood):
    spec = Spec(likelihood=likelihood, **member)
    model = model_of(spec)
    generator = torch.Generator().manual_seed(0)
    own = {n: torch.rand(shape, generator=generator) + 1 for n, shape in model.own_shapes(spec).items()}
    row = model.pad(own, spec)
    back = model.unpad(row, spec)
    assert list(back) == list(own)
    assert all(torch.equal(back[n], own[n]) for n in own)
    assert int((row != 0).sum()) == sum(w.numel() for w in own.values())  # nothing else is set


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_padded_member_computes_what_its_own_widths_compute(member):
    """Encoder and decoder of the padded row, against nn.Linear chains of the unpadded weights."""
    spec = Spec(likelihood="bernoulli", **member)
    model = model_of(spec)
    row = model.initial(spec, torch.rand(20, 7), torch.Generator().manual_seed(4)).double()
    row += 0.1 * (row != 0)  # so that the log-variance and the biases play no zero part
    own = model.unpad(row, spec)
    layers = len(spec.hidden_sizes) + 1

    def chain(part, x):
        named = {n.replace(part, "m"): w[None] for n, w in own.items() if n.startswith(part)}
        return reference(named, 0, spec.activation, layers)(x)

    x, z = torch.rand(4, 7, dtype=torch.float64), torch.randn(4, spec.latent_dim, dtype=torch.float64)
    views = model.layout.views(row[None])
    q = model.encode(views, x[None])
    mean, log_var = chain("encoder", x).chunk(2, -1)
    L = spec.latent_dim
    for ours, theirs in (q.mean, mean), (q.log_var, log_var):
        torch.testing.assert_close(ours[0, :, :L], theirs, rtol=1e-11, atol=1e-12)
        assert (ours[..., L:] == 0).all()
    padded = torch.zeros(1, 4, model.latent, dtype=torch.float64)
    padded[0, :, :L] = z
    torch.testing.assert_close(model.decode(views, padded)[0], chain("decoder", z), rtol=1e-11, atol=1e-12)


def padding(model, spec):
    """True where a row holds no parameter of the member."""
    ones = {n: torch.ones(shape) for n, shape in model.own_shapes(spec).items()}
    return model.pad(ones, spec) == 0


@pytest.mark.parametrize("optimizer", list(RULES))
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_padding_stays_exactly_zero_under_training_with_decay_and_dropout(optimizer, activation):
    specs = [
        Spec(latent_dim=L, hidden=(w,), activation=activation, likelihood="gaussian").replace(
            optimizer=optimizer, weight_decay=0.1, lr=0.05, schedule="averaged"
        )
        for L, w in ((3, 5), (7, 20), (16, 32))
    ]
    model = model_of(specs[0])
    x = torch.randn(3, 16, 7, generator=torch.Generator().manual_seed(0))
    rows = [model.initial(s, x[0], torch.Generator().manual_seed(k)) for k, s in enumerate(specs)]
    parameters = torch.stack(rows)
    before = parameters.clone()
    opt = Optimizer(specs, parameters, 50)
    leaves = {n: v.requires_grad_() for n, v in model.layout.views(parameters).items()}
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        normal = torch.zeros(3, 16, model.latent)
        for k, s in enumerate(specs):
            normal[k, :, : s.latent_dim] = torch.randn(16, s.latent_dim, generator=generator)
        keep = [2.0 * (torch.rand(3, 16, 32, generator=generator) < 0.5) for _ in range(2)]
        terms = elbo(model, leaves, x, Noise(normal, keep[:1], keep[1:]), Weights(torch.ones(3, 1)))
        gradients = torch.autograd.grad(terms.loss.sum(), list(leaves.values()))
        flat = [g.reshape(3, -1) for g in gradients]
        opt.step(torch.cat([*flat, torch.zeros(3, model.layout.tail)], 1))
    for k, s in enumerate(specs):
        unused = padding(model, s)
        assert (parameters[k][unused] == 0).all()
        changed = (parameters[k] != before[k])[~unused]
        assert changed.float().mean() > 0.9  # and the rest does train
    assert unused.sum() == 9 * (32 + 32 + 1) + model.layout.tail  # full widths: only 7 features are padded to 16


def test_model_starts_at_the_best_constant_with_a_posterior_as_wide_as_the_prior():
    spec = Spec(likelihood="gaussian", latent_dim=3, hidden=(16,))
    model = model_of(spec)
    x = torch.tensor(np.random.default_rng(0).normal(size=(50, 7)) + np.arange(7), dtype=torch.float32)
    own = model.unpad(model.initial(spec, x, torch.Generator().manual_seed(0)), spec)
    np.testing.assert_allclose(own["decoder.1.bias"][0], x.mean(0).clamp(-6, 6), rtol=1e-5, atol=1e-6)
    assert (own["encoder.1.weight"][:, 3:] == 0).all()
    assert (own["encoder.1.weight"][:, :3] != 0).all()
