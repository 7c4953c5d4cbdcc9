"""Classifiers: network and loss against torch.nn, figures against scikit-learn, the study as a user meets it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

import commands
import vaelab
from vaelab import data as data_module
from vaelab.catalog.entries import find
from vaelab.classifier import scores
from vaelab.classifier.baselines import baselines
from vaelab.classifier.estimator import Classifier
from vaelab.classifier.feed import LabelledFeed, resolve
from vaelab.classifier.fitted import FittedClassifier
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.loss import cross_entropy
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.system import ClassifierSystem
from vaelab.classifier.task import TASK
from vaelab.data import Dataset, from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError, StoreError
from vaelab.study import tune
from vaelab.study.watch import Watch
from vaelab.supervised.augment import augmented, covered
from vaelab.supervised.baselines import left_out
from vaelab.supervised.feed import standardisation
from vaelab.supervised.model import SupervisedModel, outputs_of
from vaelab.vae.fitted import Fitted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]


@pytest.fixture(scope="module")
def table() -> Dataset:
    """Three Gaussian classes in 7 dimensions and a constant column."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 60)
    x = rng.normal(size=(180, 8)) + 2 * np.eye(8)[y]
    x[:, 7] = 4.0
    return from_arrays(x.astype(np.float32), y, name="blobs", classes=["red", "green", "blue"])


def spec_of(data: Dataset, **settings: object) -> ClassifierSpec:
    return resolve(ClassifierSpec.create(**{"device": "cpu", "epochs": 3, "batch_size": 20, **settings}), data)


def test_network_is_the_sequential_of_its_own_layers(table: Dataset) -> None:
    specs = [spec_of(table, units1=5, units2=9, seed=1), spec_of(table, units1=40, units2=3, seed=2)]
    stack = Stack(specs, LabelledFeed(table, specs[0]), method=Discriminative())
    x = torch.randn(2, 11, 7, generator=torch.Generator().manual_seed(0))
    logits = stack.model.predict(stack.views(stack.parameters), x)
    assert logits.shape == (2, 11, 3)
    for k, spec in enumerate(specs):
        own = stack.model.unpad(stack.parameters[k].detach(), spec)
        layers = [
            torch.nn.Linear(7, spec.units1),
            torch.nn.Linear(spec.units1, spec.units2),
            torch.nn.Linear(spec.units2, 3),
        ]
        for i, layer in enumerate(layers):
            layer.load_state_dict({"weight": own[f"network.{i}.weight"].T, "bias": own[f"network.{i}.bias"][0]})
        reference = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2])
        torch.testing.assert_close(logits[k], reference(x[k]))


def test_cross_entropy_is_that_of_torch_for_every_member() -> None:
    logits = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.randint(4, (2, 9), generator=torch.Generator().manual_seed(1))
    answers = cross_entropy(logits, y, torch.tensor([[0.0], [0.3]]), torch.ones(2, 4))
    for k, smoothing in enumerate((0.0, 0.3)):
        expected = torch.nn.functional.cross_entropy(logits[k], y[k], label_smoothing=smoothing)
        torch.testing.assert_close(answers.loss[k], expected)
        plain = torch.nn.functional.cross_entropy(logits[k], y[k], reduction="none")
        torch.testing.assert_close(answers.log_loss[k], plain.detach())
    assert answers.error.tolist() == (logits.argmax(-1) != y).float().tolist()


def test_a_member_computes_the_same_bits_alone_and_after_a_stop(table: Dataset) -> None:
    choices = [
        {"units1": 10, "lr": 1e-2},
        {"units1": 50, "dropout1": 0.5, "optimizer": "sgd"},
        {"label_smoothing": 0.2},
    ]
    specs = [spec_of(table, units1=30, units2=20, seed=i).replace(**own) for i, own in enumerate(choices)]
    feed = LabelledFeed(table, specs[0])
    together = Stack(specs, feed, method=Discriminative())
    records = list(epochs(together))
    for k, spec in enumerate(specs):
        alone = Stack([spec], feed, method=Discriminative())
        first = next(epochs(alone))
        assert first[0] == records[0][k]
        resumed = Stack([spec], feed, method=Discriminative())
        resumed.restore([alone.member_state(0)])
        last = list(epochs(resumed))[-1]
        assert last[0] == records[-1][k]
        assert torch.equal(resumed.parameters[0], together.parameters[k])
    before = Stack(specs, feed, method=Discriminative()).parameters
    own = [together.model.unpad(p.detach(), s) for p, s in zip(together.parameters, specs, strict=True)]
    for k, weights in enumerate(own):
        padded_again = together.model.pad(weights, specs[k])
        assert torch.equal(padded_again, together.parameters[k].detach())  # padding stayed exactly 0
        assert not torch.equal(before[k], together.parameters[k])


def test_dropout_keeps_each_layer_its_own_share(table: Dataset) -> None:
    spec = spec_of(table, units1=64, units2=128, dropout1=0.25, dropout2=0.75)
    stack = Stack([spec], LabelledFeed(table, spec), method=Discriminative())
    seen: list[torch.Tensor] = []

    def watch(
        self: SupervisedModel, parameters: object, x: torch.Tensor, keep: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        seen.extend(keep)
        raise StopIteration

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedModel, "predict", watch)
        order = stack.feed.rows("train")[None]
        with pytest.raises(StopIteration):
            stack.method.losses(stack, next(stack.method.batches(stack, order)))
    for keep, share in zip(seen, (0.25, 0.75), strict=True):
        assert set(keep.unique().tolist()) == {0.0, float(torch.tensor(1.0) / (1 - share))}
        error = (share * (1 - share) / keep.numel()) ** 0.5
        assert abs(float((keep == 0).float().mean()) - share) < 4 * error


@pytest.mark.parametrize("channels", [(), (3,)])
def test_augmentation_moves_and_mirrors(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, size=(40, 5, 6, *(channels or (1,))), dtype=np.uint8)
    uniform = torch.from_numpy(rng.random((40, 3)))
    seen = augmented(torch.from_numpy(images), uniform, 2, True, 7).numpy()
    moves = set()
    for i, image in enumerate(images):
        dy, dx = (int(u * 5) for u in uniform[i, :2])
        expected = np.pad(image, ((2, 2), (2, 2), (0, 0)), constant_values=7)[dy : dy + 5, dx : dx + 6]
        assert (seen[i] == (expected[:, ::-1] if uniform[i, 2] < 0.5 else expected)).all()
        moves.add((dy, dx))
    assert len(moves) > 10


@pytest.mark.parametrize(("H", "W"), [(28, 28), (10, 40), (1, 60)])
def test_every_second_image_is_covered_by_a_rectangle_of_the_share_asked(H: int, W: int) -> None:
    n, most = 4000, 0.4
    inside = covered(torch.rand(n, 5, generator=torch.Generator().manual_seed(0)), H, W, most)
    some = inside.flatten(1).any(1)
    assert abs(float(some.float().mean()) - 0.5) < 4 * (0.25 / n) ** 0.5
    rows, columns = inside.any(2), inside.any(1)
    assert torch.equal(inside, rows[:, :, None] & columns[:, None, :])  # a rectangle, without holes:
    for line in rows[some], columns[some]:
        assert ((line[:, 1:] & ~line[:, :-1]).sum(1) + line[:, 0] == 1).all()
    share = inside[some].float().mean((1, 2))
    assert float(share.max()) <= most + 0.5 / min(n for n in (H, W) if n > 1)  # whole pixels
    # Even from 0.02 to 0.4: mean 0.21, standard deviation 0.38 / sqrt(12).
    assert abs(float(share.mean()) - 0.21) < 4 * 0.38 / 12**0.5 / len(share) ** 0.5 + 0.01
    # Every place of the middle is as often covered as its mirror image.
    seen = inside.float().mean(0)
    assert float((seen - seen.flip(0, 1)).abs().max()) < 5 * (2 * 0.25 / n) ** 0.5


@pytest.mark.parametrize("channels", [(), (3,)])
def test_what_is_covered_is_the_mean_and_the_rest_as_it_was(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    data = from_arrays(rng.integers(0, 255, (60, 6, 5, *channels), dtype=np.uint8), [0, 1] * 30)
    spec = spec_of(data, erase=0.5)
    feed, rows = LabelledFeed(data, spec), torch.arange(20)
    uniform = torch.rand(20, 8, generator=torch.Generator().manual_seed(1))
    found, plain = feed.gather(rows, spec, uniform), feed.gather(rows, spec)
    hidden = covered(uniform[:, 3:], 6, 5, 0.5).repeat_interleave(channels[0] if channels else 1, 2).flatten(1)
    assert 0 < hidden.float().mean() < 0.5
    assert torch.equal(found, torch.where(hidden, 0.0, plain))
    stack = Stack([spec], feed, method=Discriminative())
    before = stack.parameters.clone()
    next(epochs(stack))
    assert not torch.equal(before, stack.parameters)
    assert stack.failures == [None]


def test_curves_move_along_themselves_and_are_classified_by_convolutions() -> None:
    curve = torch.arange(1, 8, dtype=torch.uint8).view(1, 1, 7, 1)
    seen = augmented(curve.expand(5, -1, -1, -1), torch.linspace(0, 0.99, 5)[:, None].expand(-1, 3), 2, False, 0)
    around = [0, 0, *range(1, 8), 0, 0]
    assert seen[:, 0, :, 0].tolist() == [around[i : i + 7] for i in range(5)]
    rng = np.random.default_rng(0)
    frequency = rng.integers(1, 3, 120)
    x = np.sin(2 * np.pi * frequency[:, None] * np.linspace(0, 1, 37) + rng.uniform(0, 6, (120, 1)))
    model = Classifier(network="conv", channels="8", layers=1, units1=16, shift=2, epochs=12).fit(x, frequency)
    assert model.score(x, frequency) > 0.95
    images = rng.integers(0, 255, (40, 28, 28), dtype=np.uint8)
    of_curves, of_images = (
        TASK.default_space(data, {"network": "conv"}, lambda settings: True)
        for data in (from_arrays(x, frequency), from_arrays(images, [0, 1] * 20))
    )
    assert "flip" not in of_curves.names
    assert {"flip", "shift"} <= set(of_images.names)


def test_a_few_right_answers_make_none_certain() -> None:
    for n in (1, 4, 38):
        logits, codes = np.tile([3.0, 0.0], (n, 1)), np.zeros(n, int)
        sure = scores.probabilities(logits, scores.fit_temperature(logits, codes))[0, 0]
        assert sure == pytest.approx((n + 1) / (n + 2), abs=1e-3)  # Laplace's rule of succession


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, codes = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    logits[np.arange(200), codes] += 1
    found = scores.metrics(logits, codes, 2.0, list("abcd"))
    answers, proba = logits.argmax(1), np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(codes, answers))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(codes, answers, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(codes, answers))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(codes, proba))
    assert found["confusion"] == metrics.confusion_matrix(codes, answers).tolist()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(codes, answers)
    for i, row in enumerate(found["classes"]):
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision[i], recall[i], f1[i]))
    bins = found["reliability"]["scaled"]
    assert sum(bins["count"]) == 200
    gap = np.abs(np.subtract(bins["confidence"], bins["accuracy"])) @ bins["count"] / 200
    assert found["ece"] == pytest.approx(gap)


def test_temperature_is_where_the_log_loss_is_lowest() -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(size=(20_000, 5))
    codes = (sound + rng.gumbel(size=sound.shape)).argmax(1)  # drawn from softmax(sound)
    assert scores.fit_temperature(3 * sound, codes) == pytest.approx(3, rel=0.05)
    best = scores.fit_temperature(3 * sound, codes)
    at = [scores.metrics(3 * sound, codes, t, list("abcde"))["log_loss"] for t in (0.97 * best, best, 1.03 * best)]
    assert at[1] == min(at)


def test_pixels_and_columns_are_standardised_on_training_rows(table: Dataset) -> None:
    images = from_arrays(np.random.default_rng(0).integers(0, 255, (60, 4, 4), dtype=np.uint8), [0, 1] * 30)
    for data in (images, table):
        feed = LabelledFeed(data, spec_of(data))
        x = feed.gather(feed.rows("train"), spec_of(data)).double()
        axis = None if data.is_image else 0
        np.testing.assert_allclose(x.numpy().mean(axis), 0, atol=1e-5)
        np.testing.assert_allclose(x.numpy().std(axis), 1, rtol=1e-5)
    assert standardisation(table, spec_of(table)).kept is not None  # the constant column is left out


def test_a_saved_classifier_answers_as_before(table: Dataset, tmp_path: Path) -> None:
    spec = spec_of(table, layers=1, units1=20)
    feed = LabelledFeed(table, spec)
    stack = Stack([spec], feed, method=Discriminative())
    list(epochs(stack))
    model = FittedClassifier.of(feed, spec, stack.best[0], 1.7)
    model.save(tmp_path / "run", [], {})
    loaded = FittedClassifier.load(tmp_path / "run")
    x = table.rows("test")
    assert (loaded.predict_proba(x) == model.predict_proba(x)).all()
    assert loaded.temperature == 1.7
    logits = outputs_of(stack.model, stack.views(stack.best), feed.batches("test", 1))[0]
    np.testing.assert_allclose(loaded.predict_proba(x), scores.probabilities(logits, 1.7))
    assert loaded.evaluate(table, "test")["accuracy"] == (loaded.predict(x) == table.labels_of("test")).mean()
    with pytest.raises(StoreError, match="is the run of a classifier"):
        Fitted.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, ["needs labels", "target"]),
        ([0] * 40, ["at least two classes", "'0'"]),
        ([0] * 20 + [1] * 19 + [2], ["at least 2 examples", "'2'", "has 1"]),
    ],
)
def test_labels_that_cannot_be_learned_get_one_line(labels: list[int] | None, words: list[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    command = ["classify", "x.npy", "--out", "study"]
    if labels is not None:
        np.save(tmp_path / "y.npy", np.array(labels))
        command += ["--target", "y.npy"]
    done = commands.vaelab(command, tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "study").exists()


def test_augmentation_of_a_table_is_refused(table: Dataset, tmp_path: Path) -> None:
    for settings in ({"shift": 1}, {"flip": "horizontal"}, {"erase": 0.2}):
        with pytest.raises(InputError, match="needs images"):
            spec_of(table, **settings)
    for space in ({"shift": (0, 1)}, {"flip": ["none", "horizontal"]}):
        with pytest.raises(InputError, match="needs images"):
            vaelab.classify(table, None, space, 4, settings={"epochs": 1}, out=tmp_path / "study")
    with pytest.raises(InputError, match="less than every side of an example, but got 3 for 3"):
        spec_of(from_arrays(np.random.default_rng(0).normal(size=(40, 3)), [0, 1] * 20), network="conv", shift=3)
    assert not (tmp_path / "study").exists()


def test_what_shapes_convolutions_is_refused_without_them(tmp_path: Path) -> None:
    for setting in ("stem=16", "pooling=max", "channels=8"):
        done = commands.vaelab(["classify", "digits", "--set", setting, "--out", "study"], tmp_path)
        assert done.returncode == 2
        assert f"`{setting.partition('=')[0]}` applies to convolutions, but network is mlp" in done.stderr
    assert not (tmp_path / "study").exists()


CLASSIFY = ["classify", "digits", "--trials", "6", "--set", "epochs=16", "--seed", "1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the digits, searched over two workers."""
    folder = tmp_path_factory.mktemp("classify") / "study"
    options = ["--workers", "2", "--figures", "best", "--out", str(folder), "--json"]
    done = commands.vaelab([*CLASSIFY, *options], folder.parent)
    assert done.returncode == 0, done.stderr
    (folder.parent / "printed.json").write_text(done.stdout)
    return folder


def test_the_digits_are_learned_and_judged_once(study: Path) -> None:
    results = json.loads((study.parent / "printed.json").read_text())
    assert results == json.loads((study / "results.json").read_text())
    assert sum(results["trials"][state] for state in ("complete", "pruned", "failed")) == 6
    assert results["trials"]["pruned"] > 0
    test = results["best"]["test"]
    assert {"accuracy", "log_loss", "ece", "macro_f1"} <= test.keys()
    assert test["accuracy"] > 0.94
    assert all(0 <= row["value"] <= 1 for row in results["table"] if row["state"] == "COMPLETE")
    best = max(row["value"] for row in results["table"] if row["state"] == "COMPLETE")
    assert {row["number"]: row["search"] for row in results["finalists"]}[results["best"]["number"]] > 0.9
    assert best == max(row["search"] for row in results["finalists"])
    assert json.loads((study / "best" / "metrics.json").read_text())["test_opened"] == 1
    model = FittedClassifier.load(study / "best")
    digits = data_module.load("digits")
    assert model.evaluate(digits, "test")["accuracy"] == test["accuracy"]
    page = (study / "report.html").read_text()
    for row in results["table"]:
        beyond = range(row["spec"]["layers"] + 1, 4)
        assert set(row["idle"]) == {f"{name}{i}" for name in ("units", "dropout") for i in beyond}
    for words in ("Classes</h2>", "it classifies", "Pruning saved", "macro F1"):
        assert words in page
    assert {p.name for p in (study / "best" / "figures").glob("*.png")} == {
        "learning.png", "reliability.png", "confusion.png", "mistakes.png"
    }  # fmt: skip


def test_one_worker_finds_what_two_find_and_nothing_is_tested_again(study: Path, tmp_path: Path) -> None:
    digits = data_module.load("digits")
    options = {"settings": {"epochs": 16}, "seed": 1, "workers": 1, "figures": "none"}
    one = vaelab.classify(digits, trials=6, out=tmp_path / "one", **options)
    theirs = json.loads((study / "results.json").read_text())
    assert one.results["best"] == theirs["best"]
    announced: list[object] = []

    class Told(Watch):
        def finalists(self, numbers: Sequence[int], seeds: int) -> None:
            announced.append(numbers)

    again = tune.resume(tmp_path / "one", digits, TASK, workers=1, watch=Told())
    assert again.results["best"] == theirs["best"]
    assert announced == []
    assert again.results["seconds"] == one.results["seconds"]  # nothing was trained
    more = tune.resume(tmp_path / "one", digits, TASK, trials=7, workers=1)
    assert more.results["seconds"]["search"] > one.results["seconds"]["search"]  # that of all sittings
    assert json.loads((tmp_path / "one" / "best" / "metrics.json").read_text())["test_opened"] == 1


def predicted(*arguments: str | Path) -> list[dict[str, str]]:
    done = commands.vaelab(["predict", *map(str, arguments)], Path())
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_predict_gives_rows_labels_and_probabilities(study: Path, tmp_path: Path) -> None:
    digits = data_module.load("digits")
    np.save(tmp_path / "new.npy", digits.x[:50])
    rows = predicted(study, tmp_path / "new.npy")
    assert [int(row["row"]) for row in rows] == list(range(50))
    proba = np.array([[float(row[f"p({name})"]) for name in digits.classes] for row in rows])
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert [digits.classes[i] for i in proba.argmax(1)] == [row["label"] for row in rows]
    expected = FittedClassifier.load(study / "best").predict_proba(digits.x[:50])
    np.testing.assert_allclose(proba, expected, atol=1e-5)
    whole = predicted(study, "digits")
    assert len(whole) == len(digits.x)


def test_predict_answers_for_a_clustering_too(tmp_path: Path) -> None:
    digits = data_module.load("digits")
    found = vaelab.cluster(
        digits, settings={"latent_dim": 8, "epochs": 3}, components=12, labels=60, figures=False, budget=False,
        out=tmp_path / "clusters",
    )  # fmt: skip
    rows = predicted(tmp_path / "clusters", "digits")
    proba = np.array([[float(row[f"p({name})"]) for name in digits.classes] for row in rows])
    test = digits.splits["test"]
    answers = np.array([row["label"] for row in rows])[test]
    truth = np.array(digits.classes)[digits.labels_of("test")]
    chosen = found.results["methods"][found.results["predicts_by"]]
    assert (answers == truth).mean() == pytest.approx(chosen["labelled_accuracy"], abs=2 / len(test))
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    figures = [entry.figure for entry in find(tmp_path)]  # as `vaelab list` shows them
    assert figures == [f"12 components, accuracy {chosen['labelled_accuracy']:.3f}, test"]


@parametrize_with_checks(
    [Classifier(units1=32, units2=16, epochs=10)],
    expected_failed_checks=lambda _: {"check_class_weight_classifiers": "weights are balanced, not given by class"},
)
def test_scikit_learn_takes_it_for_a_classifier(estimator: Classifier, check: object) -> None:
    check(estimator)


def test_estimator_takes_images_and_names_its_classes() -> None:
    digits = data_module.load("digits")
    names = np.array([f"digit {label}" for label in digits.labels])
    model = Classifier(layers=1, units1=64, epochs=10).fit(digits.x, names)
    assert model.score(digits.x, names) > 0.95
    assert model.n_features_in_ == 64
    proba = model.predict_proba(digits.x[:10])
    assert (model.classes_[proba.argmax(1)] == model.predict(digits.x[:10])).all()


def test_images_that_are_scaled_otherwise_are_refused(tmp_path: Path) -> None:
    digits = data_module.load("digits")
    x, y = digits.x, digits.labels
    model = Classifier(layers=1, units1=8, epochs=1).fit(x, y)
    bytes_ = (x * 255).astype(np.uint8)
    with pytest.raises(InputError, match=r"8-bit ones with up to 255 were given; scale them as in training"):
        model.predict(bytes_)
    assert model.predict(bytes_ // 128).shape == y.shape  # black and white as 0 and 1
    folder = model.fitted_.save(tmp_path / "run", [], {}).folder
    loaded = vaelab.load_classifier(folder)
    assert (loaded.predict(x[:20]) == model.fitted_.predict(x[:20])).all()
    assert repr(loaded).startswith("FittedClassifier(X, mlp 8, 10 classes")
    with pytest.raises(StoreError, match=r"use `vaelab predict`, or vaelab\.load_classifier"):
        vaelab.load(folder)


def test_where_every_answer_is_right_there_is_no_picture_of_mistakes(tmp_path: Path) -> None:
    x = np.repeat(np.array([0, 255], np.uint8), 60)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    settings = {"layers": 1, "units1": 8, "epochs": 5}
    study = vaelab.classify(
        x, [0] * 60 + [1] * 60, {"lr": (5e-3, 1e-2)}, 2, settings=settings, workers=1, out=tmp_path / "study"
    )
    assert study.results["best"]["test"]["accuracy"] == 1
    assert {p.name for p in (study.folder / "best" / "figures").glob("*.png")} == {
        "learning.png", "reliability.png", "confusion.png"
    }  # fmt: skip
    assert "came out as well after retraining" in (study.folder / "report.html").read_text()


CONV = {"network": "conv", "channels": "8-12", "units1": 32, "layers": 1, "shift": 1, "epochs": 2, "blocks": 1}


def test_convolutions_are_those_of_torch_in_training_and_in_use() -> None:
    digits = data_module.load("digits")
    changes = {"blocks": 0, "stem": 4, "dropout1": 0.0, "activation": "relu", "label_smoothing": 0.1}
    spec = spec_of(digits, **{**CONV, **changes})
    stack = Stack([spec], LabelledFeed(digits, spec), method=Discriminative())
    own = stack.model.unpad(stack.rows[0].detach(), spec)
    layers: list[torch.nn.Module] = []
    for name, n_in, n_out in [("stem", 1, 4), ("0", 4, 8), ("1", 8, 12)]:
        convolution = torch.nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        convolution.weight.data = own[f"maps.{name}.weight"].permute(0, 3, 1, 2)
        pool = [] if name == "stem" else [torch.nn.MaxPool2d(2)]
        layers += [convolution, *pool, torch.nn.BatchNorm2d(n_out), torch.nn.ReLU()]
    dense = [torch.nn.Linear(2 * 2 * 12, 32), torch.nn.Linear(32, 10)]
    for i, layer in enumerate(dense):
        layer.load_state_dict({"weight": own[f"network.{i}.weight"].T, "bias": own[f"network.{i}.bias"][0]})
    trunk, head = torch.nn.Sequential(*layers), torch.nn.Sequential(dense[0], torch.nn.ReLU(), dense[1])
    x = torch.randn(30, 64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(30) % 10
    for training in (True, False):
        parameters = stack.in_training if training else stack.views(stack.rows)
        # Maps are flattened in the order H, W, C.
        expected = head(trunk.train(training)(x.view(30, 1, 8, 8)).permute(0, 2, 3, 1).flatten(1))
        torch.testing.assert_close(stack.model.predict(parameters, x[None])[0], expected)
    loss = cross_entropy(
        stack.model.predict(stack.in_training, x[None]), y[None], torch.tensor([[0.1]]), torch.ones(1, 10)
    ).loss
    reference = torch.nn.functional.cross_entropy(
        head(trunk.train()(x.view(30, 1, 8, 8)).permute(0, 2, 3, 1).flatten(1)), y, label_smoothing=0.1
    )
    torch.testing.assert_close(loss[0], reference)
    reference.backward()
    (gradient,) = torch.autograd.grad(loss.sum(), [stack.leaves["maps.stem.weight"]])
    torch.testing.assert_close(gradient[0].permute(0, 3, 1, 2), layers[0].weight.grad)


@pytest.mark.parametrize("settings", [CONV, {"units1": 16}])
def test_what_learns_from_mirror_images_answers_by_both(settings: dict[str, object]) -> None:
    digits = data_module.load("digits")
    spec = spec_of(digits, **{**settings, "flip": "horizontal"})
    feed = LabelledFeed(digits, spec)
    stack = Stack([spec], feed, method=Discriminative())
    both = FittedClassifier.of(feed, spec, stack.rows[0].detach(), 1.0)
    one = FittedClassifier.of(feed, spec.replace(flip="none"), stack.rows[0].detach(), 1.0)
    x, mirrored = digits.x[:50], digits.x[:50, :, ::-1]
    np.testing.assert_allclose(both.logits(x), (one.logits(x) + one.logits(mirrored)) / 2, atol=1e-5)
    np.testing.assert_allclose(both.logits(mirrored), both.logits(x), atol=1e-5)
    assert np.abs(one.logits(mirrored) - one.logits(x)).max() > 1e-3


def test_convolutions_resume_bit_for_bit_and_are_saved_with_their_statistics(tmp_path: Path) -> None:
    digits = data_module.load("digits")
    spec = spec_of(digits, **CONV)
    feed = LabelledFeed(digits, spec)
    whole = Stack([spec], feed, method=Discriminative())
    records = list(epochs(whole))
    half = Stack([spec], feed, method=Discriminative())
    next(epochs(half))
    resumed = Stack([spec], feed, method=Discriminative())
    resumed.restore([half.member_state(0)])
    assert list(epochs(resumed))[-1] == records[-1]
    assert torch.equal(resumed.rows, whole.rows)
    model = FittedClassifier.of(feed, spec, whole.best[0], 1.0).save(tmp_path / "run", [], {})
    loaded = FittedClassifier.load(tmp_path / "run")
    assert (loaded.predict_proba(digits.x[:40]) == model.predict_proba(digits.x[:40])).all()
    assert any(name.endswith(".var") for name in loaded.model.statistics.blocks)


def test_convolutions_learn_the_digits() -> None:
    digits = data_module.load("digits")
    names = np.array(digits.classes)[digits.labels]
    train, test = digits.splits["train"], digits.splits["test"]
    model = Classifier(network="conv", channels="16-32", layers=1, units1=64, epochs=6).fit(
        digits.x[train], names[train]
    )
    assert model.score(digits.x[test], names[test]) > 0.97


def test_balanced_weights_find_a_rare_class_and_leave_equal_ones_alone() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [2850, 150])
    x = rng.normal(size=(3000, 2)) + 1.5 * y[:, None]
    recalls = {}
    for weight in ("none", "balanced"):
        settings = {"layers": 0, "epochs": 30, "lr": 0.02}
        model = Classifier(**settings, class_weight=weight).fit(x, y)
        recalls[weight] = metrics.recall_score(y, model.predict(x), average=None)
    assert recalls["balanced"][1] > 0.7 > 0.6 > recalls["none"][1]
    assert recalls["balanced"].mean() > recalls["none"].mean() + 0.1
    logits = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    weights = torch.tensor([0.5, 1.0, 1.5])
    own = torch.nn.functional.cross_entropy(logits[0], codes[0], weight=weights, reduction="none")
    found = cross_entropy(logits, codes, torch.zeros(1, 1), weights[None])
    torch.testing.assert_close(found.loss[0], own.mean())
    data = from_arrays(x, y)
    assert data.labels is not None
    feed = LabelledFeed(data, spec_of(data, class_weight="balanced"))
    seen = feed.weights(spec_of(data, class_weight="balanced"))[data.labels[data.splits["train"]]]
    assert float(seen.mean()) == pytest.approx(1)


def test_simpler_classifiers_are_fitted_on_tables_and_left_out_for_images(table: Dataset, tmp_path: Path) -> None:
    study = vaelab.classify(
        table, trials=1, settings={"epochs": 2}, workers=1, figures="none", final_seeds=1, out=tmp_path / "study"
    )
    results = study.results
    assert [own["name"] for own in results["baselines"]] == ["logistic regression", "gradient boosting"]
    best = max(own["test"]["accuracy"] for own in results["baselines"])
    assert bool(results["beaten"]) == (best > results["best"]["test"]["accuracy"])
    assert study.best is not None
    system, feed = ClassifierSystem(), LabelledFeed(table, study.best.spec)
    own_test = system.on_test(feed, study.best).all
    assert own_test["accuracy"] == results["best"]["test"]["accuracy"]
    assert own_test["log_loss"] == pytest.approx(results["best"]["test"]["log_loss"])
    assert "Beside simpler models" in (study.folder / "report.html").read_text()
    (logistic, _) = baselines(LabelledFeed(table, spec_of(table)))
    train, test = table.splits["train"], table.splits["test"]
    mean, std = table.flat[train, :7].mean(0), table.flat[train, :7].std(0)
    assert table.labels is not None
    own = LogisticRegression().fit((table.flat[train, :7] - mean) / std, table.labels[train])
    expected = own.score((table.flat[test, :7] - mean) / std, table.labels[test])
    assert logistic.test.all["accuracy"] == pytest.approx(expected, abs=1 / len(test))
    images = from_arrays(np.random.default_rng(0).integers(0, 255, (60, 15, 15), dtype=np.uint8), [0, 1] * 30)
    assert "225 inputs, more than" in str(left_out(LabelledFeed(images, spec_of(images))))
