"""A VAE with a mixture prior, through all its phases: what is fitted, what is kept, what is recovered."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import vaelab
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.vae import evaluate, pretraining
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational, beta_at
from vaelab.vae.run import train
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

BASE = {
    "prior": "mixture",
    "covariance": "full",
    "components": 3,
    "likelihood": "gaussian",
    "device": "cpu",
    "latent_dim": 2,
    "batch_size": 50,
}
WEIGHTS, SIGMA = np.array([0.5, 0.3, 0.2]), 0.3
MEANS, STDS = np.array([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]]), np.array([[0.5, 1.0], [1.0, 0.5], [0.6, 0.6]])
D = 6


def mixed_rows(n=900, seed=0):
    """Rows x = z W + b + noise for z of a known mixture, and the component of each."""
    rng = np.random.default_rng(seed)
    W, b = np.random.default_rng(7).normal(size=(2, D)), np.arange(D)
    c = rng.choice(3, n, p=WEIGHTS)
    z = MEANS[c] + STDS[c] * rng.normal(size=(n, 2))
    return z @ W + b + SIGMA * rng.normal(size=(n, D)), c, W, b


def mixture_log_likelihood(x, weights, means, covariances, W, b, sigma):
    """log sum_c pi_c N(x; mu_c W + b, W^T S_c W + sigma^2 I) (n,)."""
    each = [
        math.log(weights[c])
        + scipy.stats.multivariate_normal(
            means[c] @ W + b, W.T @ covariances[c] @ W + np.diag(sigma**2 * np.ones(len(b)))
        ).logpdf(x)
        for c in range(len(weights))
    ]
    return scipy.special.logsumexp(each, axis=0)


@pytest.fixture(scope="module")
def table():
    x, c, _, _ = mixed_rows()
    return from_arrays(x, c, seed=2)


@pytest.fixture(scope="module")
def few():
    x, c, _, _ = mixed_rows(240)
    return from_arrays(x, c, seed=2)


@pytest.fixture(scope="module")
def trained(table):
    """The feed and a linear VAE with a mixture prior after its last step, in double precision."""
    settings = {**BASE, "hidden": "none", "sigma": "feature", "epochs": 90, "pretrain": 15, "lr": 0.02}
    spec = resolve(Spec.create(**settings), table)
    feed = Feed(table, spec)
    stack = Stack([spec], feed, Variational())
    records = list(epochs(stack))
    return feed, Fitted.of(feed, spec, stack.parameters[0].detach()).double(), records


def exact(feed, fitted, split):
    """The exact log-likelihood of a linear model with a mixture prior, in the data's own units, and its rows."""
    own = {n: w.numpy() for n, w in fitted.model.unpad(fitted.row[0], fitted.spec).items()}
    x = torch.cat([x for _, x, _ in feed.batches(split, 1)]).double().numpy()
    logits = own["prior.logits"][0]
    weights = np.exp(logits) / np.exp(logits).sum()
    sigma = 1e-3 + np.exp(own["likelihood.scale"][0])
    variances = np.exp(own["prior.log_var"])
    back = np.linalg.inv(np.eye(2) + np.tril(own["prior.shear"].transpose(1, 0, 2), -1))
    covariances = back.transpose(0, 2, 1) @ (variances[:, :, None] * back)
    found = mixture_log_likelihood(
        x,
        weights,
        own["prior.mean"],
        covariances,
        own["decoder.0.weight"],
        own["decoder.0.bias"][0],
        sigma,
    )
    return found - feed.log_jacobian, weights


def test_the_bound_stays_under_the_exact_likelihood_and_more_draws_approach_it(trained):
    feed, fitted, _ = trained
    likelihood, _ = exact(feed, fitted, "train")
    batches = feed.batches("train", 64)
    scores = evaluate.score(fitted.model, fitted.parameters, [fitted.spec], batches, 64, feed.log_jacobian)
    gap = likelihood + scores.neg_elbo[0].numpy()  # KL(q || p(z|x)) of each row, up to the noise of 64 draws
    assert gap.mean() > -4 * gap.std() / math.sqrt(len(gap))
    assert gap.mean() < 0.5
    bound = fitted.importance_bound(feed.data, "train", 400)
    assert abs(bound.neg_log_p + likelihood.mean()) < 4 * bound.monte_carlo + 1e-3


def test_a_known_mixture_is_recovered(trained, table):
    feed, fitted, _ = trained
    rows = table.splits["train"]
    shares = fitted.components(table.flat[rows])
    assert adjusted_rand_score(table.labels[rows], shares.argmax(1)) > 0.95
    likelihood, weights = exact(feed, fitted, "train")
    counts = np.bincount(table.labels[rows])[np.argsort(-WEIGHTS)] / len(rows)
    np.testing.assert_allclose(np.sort(weights)[::-1], counts, atol=0.03)
    _, _, W, b = mixed_rows()
    truth = mixture_log_likelihood(
        table.flat[rows].astype(float), WEIGHTS, MEANS, [np.diag(std**2) for std in STDS], W, b, SIGMA
    )
    assert abs(likelihood.mean() - truth.mean()) < 0.1
    assert fitted.evaluate(table, "train", 8)["occupied_components"] == pytest.approx(
        np.exp(-(WEIGHTS * np.log(WEIGHTS)).sum()), abs=0.15
    )


def test_fitted_coordinates_make_components_axis_parallel_on_average_and_latents_standard():
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(3, 3))
    c = rng.choice(2, 4000, p=[0.7, 0.3])
    z = (np.array([[-4.0, 0, 0], [4.0, 1, 0]])[c] + rng.normal(size=(4000, 3))) @ turn * 50 + 1000
    fit = pretraining.fit_mixture(z, 2, seed=1)
    new = (z - fit.centre) @ fit.basis
    np.testing.assert_allclose(new.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(new.var(0), 1, rtol=1e-2)
    order = np.argsort(-fit.weights)
    np.testing.assert_allclose(fit.weights[order], np.bincount(c) / 4000, atol=1e-3)
    residual = new - fit.means[order][c]
    within = residual.T @ residual / len(z)
    np.testing.assert_allclose(within, np.diag(np.diag(within)), atol=3e-3)
    for k in range(2):
        np.testing.assert_allclose(fit.covariances[order[k]], np.cov(new[c == k].T), atol=1e-2)
        np.testing.assert_allclose(fit.means[order[k]], new[c == k].mean(0), atol=1e-2)


@pytest.mark.parametrize("hidden", ["none", "16", "20-9"])
def test_fitting_the_mixture_keeps_reconstructions_from_the_means(table, hidden):
    spec = resolve(Spec.create(**BASE, hidden=hidden, epochs=4, pretrain=2), table)
    feed = Feed(table, spec)
    stack = Stack([spec], feed, Variational())
    list(epochs(stack, 2))
    before = Fitted.of(feed, spec, stack.parameters[0].detach()).double()
    row = pretraining.with_mixture(stack.model, before.row[0], spec, feed)
    after = Fitted(spec, before.facts, before.scaling, row[None])
    rows = table.flat[table.splits["train"]]
    np.testing.assert_allclose(after.reconstruct(rows), before.reconstruct(rows), rtol=1e-6, atol=1e-6)
    z, std = after.encode(rows)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z.var(0), 1, rtol=1e-2)
    assert std.max() < 1
    mean, deviation = after.prior_moments
    np.testing.assert_allclose(mean, 0, atol=1e-2)
    np.testing.assert_allclose(deviation**2, 1 + std[0] ** 2, rtol=1e-2)


def test_an_autoencoder_epoch_decodes_the_mean_and_does_not_move_prior_or_variances(table):
    spec = resolve(Spec.create(**BASE, hidden="8", epochs=6, pretrain=3, warmup=2), table)
    feed = Feed(table, spec)
    stack = Stack([spec], feed, Variational())
    start = stack.model.unpad(stack.parameters[0].detach().clone(), spec)
    state = stack.generators[0].get_state()
    (records,) = zip(*epochs(stack, 3), strict=True)
    now = stack.model.unpad(stack.parameters[0].detach(), spec)
    for name in now:
        if name.startswith("prior"):
            assert torch.equal(now[name], start[name])
    assert (now["encoder.1.weight"][:, 2:] == 0).all()
    assert not torch.equal(now["encoder.0.weight"], start["encoder.0.weight"])
    assert not torch.equal(stack.generators[0].get_state(), state)  # the order of the rows is drawn
    assert [r.is_best for r in records] == [False] * 3
    assert [beta_at(spec, e) for e in range(6)] == [0, 0, 0, 0, 0.5, 1]
    # Without noise and weight on the rate, the training term is the loss at the mean.
    (later,) = zip(*epochs(stack), strict=True)
    assert [r.epoch for r in later] == [4, 5, 6]
    assert any(r.is_best for r in later)


@pytest.mark.parametrize(
    "settings", [{}, {"samples": 2, "warmup": 1}, {"optimizer": "rmsprop", "dropout": 0.1}], ids=str
)
def test_a_run_stopped_in_any_phase_continues_bit_for_bit(few, settings):
    members = [{"seed": 1}, {"seed": 2, "lr": 0.01, "beta": 0.5}]
    specs = [
        resolve(Spec.create(**{**BASE, "hidden": "12", "epochs": 6, "pretrain": 3, **settings, **m}), few)
        for m in members
    ]
    feed = Feed(few, specs[0])
    whole = Stack(specs, feed, Variational())
    records = list(epochs(whole))
    for at in (0, 1, 3, 4):  # before each phase, and in the midst of it
        first = Stack(specs, feed, Variational())
        list(epochs(first, at))
        second = Stack(specs, Feed(few, specs[0]), Variational())
        second.restore([first.member_state(k) for k in range(2)])
        assert list(epochs(second)) == records[at:]
        for name in ("parameters", "best"):
            assert torch.equal(getattr(second, name), getattr(whole, name))
        assert torch.equal(second.optimizer.second, whole.optimizer.second)
        assert second.best_loss == whole.best_loss


def test_a_member_whose_latents_blow_up_fails_alone(few):
    specs = [
        resolve(Spec.create(**BASE, hidden="12", epochs=4, pretrain=2, seed=s, **more), few)
        for s, more in ((1, {}), (2, {"lr": 100.0, "optimizer": "sgd", "clip": 1e30}))
    ]
    feed = Feed(few, specs[0])
    alone, together = Stack(specs[:1], feed, Variational()), Stack(specs, feed, Variational())
    list(epochs(alone))
    list(epochs(together))
    assert together.failures[0] is None
    assert "non-finite" in together.failures[1]
    assert torch.equal(alone.parameters[0], together.parameters[0])


def test_a_run_folder_keeps_the_prior(few, tmp_path):
    spec = Spec.create(**BASE, hidden="16", epochs=6)
    run = train(few, spec, out=tmp_path / "run")
    again = Fitted.load(tmp_path / "run")
    assert again.model.prior == run.model.model.prior
    np.testing.assert_array_equal(again.sample(50, seed=3), run.model.sample(50, seed=3))
    assert 1 <= run.metrics["validation"]["occupied_components"] <= 3
    assert Path(tmp_path / "run" / "report.html").exists()
    x = few.flat[:20]
    whole = again.double()
    np.testing.assert_allclose(whole.score_samples(x), np.concatenate([whole.score_samples(r[None]) for r in x]))


def test_digits_without_labels_in_seconds(digits):
    """Ten components on 8 x 8 digits: far above chance, and the mixture beats the standard normal's bound."""
    settings = {"hidden": "64", "latent_dim": 8, "epochs": 30, "device": "cpu", "seed": 1}
    found = {}
    for prior in ("normal", "mixture"):
        spec = resolve(Spec.create(prior=prior, **settings), digits)
        feed = Feed(digits, spec)
        stack = Stack([spec], feed, Variational())
        list(epochs(stack))
        fitted = Fitted.of(feed, spec, stack.best[0]).double()
        found[prior] = fitted.evaluate(digits, "validation", 8)["neg_elbo"]
    assert found["mixture"] < found["normal"] + 1
    rows = digits.splits["train"]
    components = fitted.components(digits.flat[rows])
    assert adjusted_rand_score(digits.labels[rows], components.argmax(1)) > 0.5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prior": "mixture", "free_bits": 0.1}, "`free_bits` needs the normal prior"),
        ({"pretrain": 5}, "`pretrain` needs the mixture prior"),
        ({"prior": "mixture", "epochs": 10, "pretrain": 10}, "`pretrain` must be less than `epochs`"),
        ({"prior": "mixture", "components": 0}, "`components` must be 1 to "),
        ({"prior": "flow"}, "`prior` must be one of normal, mixture, vamp, but got 'flow'."),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(given, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        Spec.create(**given)


def test_more_components_than_rows_are_refused():
    data = from_arrays(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(InputError, match="`components` must be at most the number of training examples"):
        resolve(Spec.create(prior="mixture", components=500), data)


def test_a_step_of_em_never_lowers_the_likelihood():
    """Responsibilities by scikit-learn's densities, the M-step ours."""
    x = mixed_rows(400)[0]
    z = (x - x.mean(0)) / x.std(0)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), len(z))
    likelihoods = []
    for _ in range(40):
        model = GaussianMixture(4)
        model.weights_, model.means_, model.covariances_ = pretraining.moments(z, shares)
        model.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(model.covariances_))
        likelihoods.append(model.score(z))
        shares = model.predict_proba(z)
    assert (np.diff(likelihoods) > -1e-9).all()
    assert likelihoods[-1] > likelihoods[0] + 0.5


@pytest.mark.parametrize("n", [300, 1500])  # solved whole, and by ARPACK
def test_leading_vectors_are_eigenvectors_also_where_eigenvalues_are_repeated(n):
    """A graph of 30 islands has the eigenvalue 1 thirty times; beside it a random matrix has each but once."""
    islands = sparse.block_diag([np.full((n // 30, n // 30), 30 / n)] * 30, format="csr")
    noise = sparse.random(n, n, 0.02, "csr", rng=np.random.default_rng(0))
    for matrix in (islands, noise + noise.T):
        values = np.linalg.eigvalsh(matrix.toarray())[-13:]
        for seed in range(2):
            found = pretraining.leading_vectors(matrix, 13, np.random.default_rng(seed))
            np.testing.assert_allclose(found.T @ found, np.eye(13), atol=1e-8)
            np.testing.assert_allclose(matrix @ found, found * values, atol=1e-6)


def test_eigenvectors_that_cannot_be_found_are_said_to_be(monkeypatch):
    def breaks_off(*_, **__):
        raise sparse.linalg.ArpackError(3)

    monkeypatch.setattr(sparse.linalg, "eigsh", breaks_off)
    with pytest.raises(FloatingPointError, match="ARPACK finds no eigenvectors"):
        pretraining.leading_vectors(sparse.identity(1200, format="csr"), 3, np.random.default_rng(0))


@pytest.mark.parametrize("components", [1, 3, 10])
@pytest.mark.parametrize("kind", ["constant", "repeated", "flat", "few", "islands"])
def test_a_mixture_is_fitted_to_any_finite_latents(kind, components):
    rng = np.random.default_rng(0)
    z = {
        "constant": np.zeros((300, 4)),
        "repeated": np.repeat(rng.normal(size=(20, 4)), 20, axis=0),
        "flat": 1e6 + rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12)),
        "few": rng.normal(size=(11, 3)),
        "islands": np.repeat(rng.normal(size=(40, 4)) * 100, 20, axis=0) + rng.normal(size=(800, 4)),
    }[kind]
    fit = pretraining.fit_mixture(z, components, seed=0)
    assert fit.weights.sum() == pytest.approx(1)
    assert np.isfinite(fit.basis).all()
    assert np.linalg.eigvalsh(fit.covariances).min() > 0


def test_groups_of_the_graph_follow_shapes_that_no_ball_fits():
    z, c = make_moons(1000, noise=0.05, random_state=0)
    found = pretraining.graph_groups(z, 2, np.random.default_rng(0))
    assert adjusted_rand_score(c, found) > 0.95
    assert adjusted_rand_score(c, KMeans(2, n_init=5, random_state=0).fit_predict(z)) < 0.5


def test_few_rows_start_from_no_autoencoder_and_have_diagonal_covariances(few):
    many = from_arrays(mixed_rows(1500)[0], seed=2)
    assert (len(few.splits["train"]), len(many.splits["train"])) == (168, 1050)
    automatic = Spec(prior="mixture", components=2, epochs=9)
    small, large = resolve(automatic, few), resolve(automatic, many)
    assert (small.pretrain_epochs, small.covariance) == (0, "diag")
    assert (large.pretrain_epochs, large.covariance) == (3, "full")
    given = resolve(automatic.replace(pretrain=2, covariance="full"), few)
    assert (given.pretrain_epochs, given.covariance) == (2, "full")


@pytest.mark.slow
def test_a_mixture_of_few_wide_rows_describes_new_ones_better_than_no_latents():
    """100 rows of 20 columns with 4 factors, in three groups: 16 latents remember them all, if trained to."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(140, 4)) + 4 * rng.normal(size=(3, 4))[rng.integers(3, size=140)]
    x = z @ rng.normal(size=(4, 20)) + rng.normal(size=(140, 20))
    run = vaelab.train(x, {"prior": "mixture"}, figures=False)
    assert run.metrics["validation"]["neg_elbo"] < run.metrics["reference"]["no_latents"] - 5
