"""Seconds per epoch of one small VAE, in vaelab and in other common libraries, on one pinned core.

    python benchmarks/peers.py --setup DIR                 # once: the peers' environments
    python benchmarks/peers.py --peers DIR --data DATA     # the table, then the asserted ratios
    python benchmarks/peers.py --smoke                     # vaelab alone, a few random images

The task is MNIST (60,000 images, float32 in [0, 1], batches of 100, reshuffled each epoch) and the network
784-64-16-64-784: ReLU, Gaussian latents, Bernoulli cross-entropy summed over pixels plus KL, mean over the
batch, Adam. Every contestant is a live process with one thread; one of them works at a time, they take turns
for several rounds, and medians are compared. Preparing the data and a warm-up epoch are not timed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # contestants import what they need themselves, after the threads are limited
    import numpy as np

PIXELS, HIDDEN, LATENTS, BATCH, LEARNING_RATE = 784, 64, 16, 100, 1e-3
LAYERS = ((PIXELS, HIDDEN), (HIDDEN, 2 * LATENTS), (LATENTS, HIDDEN), (HIDDEN, PIXELS))
LEAST_RATIOS = {"jax-scan": 1.0, "keras-tensorflow": 3.0, "pythae": 4.0}  # how many times faster vaelab must be

THREADS = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
SINGLE_THREAD = dict.fromkeys(THREADS, "1") | {"XLA_FLAGS": XLA_FLAGS, "JAX_PLATFORMS": "cpu"}
# pythae requires the `dataclasses` backport that Python has not needed since 3.7, hence --no-deps.
PYTHAE_IMPORTS = "numpy scipy scikit-learn pydantic cloudpickle imageio tqdm"
ENVIRONMENTS = {
    "keras": ["tensorflow-cpu jax keras>=3"],
    "pythae": ["torch==2.13.0", "--no-deps pythae==0.1.2", PYTHAE_IMPORTS],
}

Turn = tuple[float, float, float]
"""Seconds per epoch, of those on the processor, and the last epoch's mean training loss (nats per image)."""
Train = Callable[[int], Turn]


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def timed(epoch: Callable[[], float]) -> Train:
    def train(epochs: int) -> Turn:
        start = clock()
        loss = [epoch() for _ in range(epochs)][-1]
        wall, cpu = (b - a for a, b in zip(start, clock(), strict=True))
        return wall / epochs, cpu / epochs, loss

    return train


def vaelab_epoch(images: np.ndarray) -> Train:
    """The library's own training loop with one model (K = 1), without the validation that ends its epochs."""
    import numpy as np
    import torch

    from vaelab.data import Dataset
    from vaelab.engine import training
    from vaelab.engine.process import keep_freed_memory
    from vaelab.vae.feed import Feed
    from vaelab.vae.learning import Variational
    from vaelab.vae.spec import Spec

    torch.set_num_threads(1)
    keep_freed_memory()
    settings = {"hidden": HIDDEN, "latent_dim": LATENTS, "batch_size": BATCH, "lr": LEARNING_RATE, "epochs": 1000}
    spec = Spec(
        **settings, activation="relu", schedule="constant", likelihood="bernoulli", device="cpu", engine="fused"
    )
    everything = np.arange(len(images))
    splits = {"train": everything, "validation": everything[:100], "test": everything[:100]}
    stack = training.Stack([spec], Feed(Dataset("mnist", images, splits), spec), Variational())

    def one_epoch() -> float:
        sums, _ = training.run_epoch(stack)
        stack.epoch += 1
        return sum(float(term.sum()) for term in sums.values()) / len(images)

    return timed(one_epoch)


def torch_networks() -> tuple[Any, Any]:
    """Encoder (mean and log variance side by side) and decoder (logits)."""
    from torch import nn

    first, code, back, last = (nn.Linear(*sizes) for sizes in LAYERS)
    return nn.Sequential(first, nn.ReLU(), code), nn.Sequential(back, nn.ReLU(), last)


def torch_trainer(batches: Callable[[], Iterator[Any]], **adam: Any) -> Train:
    from torch import optim, randn_like
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    encoder, decoder = torch_networks()
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LEARNING_RATE, **adam)

    def step(x: Any) -> float:
        mean, log_var = encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_var).exp() * randn_like(mean)
        kl = 0.5 * (log_var.exp() + mean.square() - 1 - log_var).sum()
        loss = (cross_entropy(decoder(z), x, reduction="sum") + kl) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return timed(lambda: fmean(step(x) for x in batches()))


def torch_eager(loader: bool, images: np.ndarray) -> Train:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = torch.from_numpy(images)
    batches = DataLoader(TensorDataset(data), batch_size=BATCH, shuffle=True)
    if loader:
        return torch_trainer(lambda: (x for (x,) in batches))
    return torch_trainer(lambda: (data[i] for i in torch.randperm(len(data)).split(BATCH)), fused=True)


def pythae_model() -> Any:
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def forward(self, x: Any) -> Any:
            mean, log_var = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    encoder, decoder = Encoder(), Decoder()
    encoder.network, decoder.network = torch_networks()
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=LATENTS, reconstruction_loss="bce")
    return VAE(config, encoder=encoder, decoder=decoder)


def pythae(images: np.ndarray) -> Train:
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, learning_rate=LEARNING_RATE
    )
    data = BaseDataset(torch.from_numpy(images), torch.zeros(len(images)))
    trainer = BaseTrainer(pythae_model(), data, training_config=config)
    # `train()` would add a copy and a save of the model to each call: timing only the epochs is fairer.
    trainer.prepare_training()

    def epoch() -> float:
        loss = trainer.train_step(epoch=1)
        trainer.callback_handler.on_epoch_end(training_config=config)
        return float(loss)

    return timed(epoch)


def bare_products(images: np.ndarray) -> Train:
    """No training: the forward products, and backward's two per layer except the gradient of the input."""
    import torch

    batches = torch.from_numpy(images).split(BATCH)
    products: list[tuple[Any, Any, Any]] = []
    for fan_in, fan_out in LAYERS:
        weight, grad_weight = torch.randn(fan_out, fan_in) / fan_in**0.5, torch.empty(fan_out, fan_in)
        value, grad_value = torch.randn(BATCH, fan_in), torch.empty(BATCH, fan_in)
        output, grad_output = torch.empty(BATCH, fan_out), torch.randn(BATCH, fan_out)
        products.append((value, weight.t(), output))
        products += [(grad_output.t(), value, grad_weight), (grad_output, weight, grad_value)]
    (_, weight, output), (grad_output, _, grad_weight), _, *others = products

    def epoch() -> float:
        for x in batches:
            for left, right, result in [(x, weight, output), (grad_output, x, grad_weight), *others]:
                torch.mm(left, right, out=result)
        return math.nan

    return timed(epoch)


def keras_model(pixels: int = PIXELS, hidden: int = HIDDEN, latents: int = LATENTS, activation: str = "relu") -> Any:
    import keras
    from keras import layers, ops

    class Vae(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = keras.Sequential([layers.Dense(hidden, activation), layers.Dense(2 * latents)])
            self.decoder = keras.Sequential([layers.Dense(hidden, activation), layers.Dense(pixels)])
            self.seed = keras.random.SeedGenerator(0)

        def call(self, x: Any) -> Any:
            mean, log_var = ops.split(self.encoder(x), 2, axis=1)
            noise = keras.random.normal(ops.shape(mean), seed=self.seed)
            return self.decoder(mean + ops.exp(0.5 * log_var) * noise), mean, log_var

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
            logits, mean, log_var = y_pred
            cross_entropy = ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=1)
            kl = 0.5 * ops.sum(ops.exp(log_var) + ops.square(mean) - 1 - log_var, axis=1)
            return ops.mean(cross_entropy + kl)

    return Vae()


def keras_fit(backend: str, images: np.ndarray) -> Train:
    os.environ["KERAS_BACKEND"] = backend
    import keras

    model = keras_model()
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE))
    ends: list[tuple[float, float]] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(clock()))

    def train(epochs: int) -> Turn:
        # A user's one `fit` has many epochs: its set-up and first epoch are excluded.
        ends.clear()
        history = model.fit(images, batch_size=BATCH, epochs=epochs + 1, verbose=0, callbacks=[watch])
        wall, cpu = (b - a for a, b in zip(ends[0], ends[-1], strict=True))
        return wall / epochs, cpu / epochs, float(history.history["loss"][-1])

    return train


def jax_loss(params: Any, x: Any, key: Any) -> Any:
    from jax import nn, random
    from jax import numpy as jnp

    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = params
    mean, log_var = jnp.split(nn.relu(x @ w1 + b1) @ w2 + b2, 2, axis=1)
    z = mean + jnp.exp(0.5 * log_var) * random.normal(key, mean.shape)
    logits = nn.relu(z @ w3 + b3) @ w4 + b4
    cross_entropy = (nn.softplus(logits) - x * logits).sum()
    return (cross_entropy + 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum()) / len(x)


def jax_scan(images: np.ndarray) -> Train:
    """The whole epoch, shuffling included, is one compiled program."""
    import jax
    from jax import numpy as jnp
    from jax.example_libraries.optimizers import adam

    initial, update, params_of = adam(LEARNING_RATE)

    def whole_epoch(state: Any, count: Any, key: Any, data: Any) -> tuple[Any, Any]:
        def step(carry: Any, batch: Any) -> tuple[Any, Any]:
            state, count = carry
            loss, grads = jax.value_and_grad(jax_loss)(params_of(state), data[batch[0]], batch[1])
            return (update(count, grads, state), count + 1), loss

        shuffle, noise = jax.random.split(key)
        order = jax.random.permutation(shuffle, len(data)).reshape(-1, BATCH)
        (state, _), losses = jax.lax.scan(step, (state, count), (order, jax.random.split(noise, len(order))))
        return state, losses.mean()

    run, data, count, key = jax.jit(whole_epoch, donate_argnums=0), jnp.asarray(images), 0, jax.random.key(0)
    state = initial([(jax.random.normal(key, s) / s[0] ** 0.5, jnp.zeros(s[1])) for s in LAYERS])

    def epoch() -> float:
        nonlocal state, count
        state, loss = run(state, count, jax.random.fold_in(key, count), data)
        count += len(images) // BATCH
        return float(loss)

    return timed(epoch)


@dataclass
class Contestant:
    title: str
    build: Callable[[np.ndarray], Train]
    environment: str = ""  # a name under `--peers`; the empty one is the Python that runs this program
    child: subprocess.Popen[str] | None = None
    turns: list[Turn] = field(default_factory=list)
    problem: str = ""  # errors in its process become its row in the table, not a crash

    def seconds(self) -> float:
        return median(wall for wall, _, _ in self.turns) if self.turns else math.nan

    def start(self, name: str, arguments: argparse.Namespace) -> None:
        python = arguments.peers / self.environment / "bin/python" if self.environment else sys.executable
        if not Path(python).exists():
            self.problem = "not installed"
            return
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        options = ["--contestant", name, "--data", arguments.data, "--epochs", str(arguments.epochs)]
        options += ["--smoke"] if arguments.smoke else []
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log, "text": True}
        self.child = subprocess.Popen([python, __file__, *options], env=os.environ | SINGLE_THREAD, **streams)
        self.receive()

    def receive(self) -> None:
        answer = json.loads(self.child.stdout.readline() or '{"problem": "failed"}')
        self.problem = answer.get("problem", "")
        self.turns += answer.get("turns", [])
        if self.problem == "failed":
            self.log.seek(0)
            print(self.title, "failed:", self.log.read()[-2000:], file=sys.stderr)

    def take_turn(self) -> None:
        if not self.problem:
            with suppress(BrokenPipeError):  # its answer will be missing
                print("go", file=self.child.stdin, flush=True)
            self.receive()

    def stop(self) -> None:
        """It ends by itself with the end of its standard input, which comes when this program ends at the latest."""
        if self.child is not None:
            self.child.communicate()
            self.log.close()


CONTESTANTS = {
    "pythae": Contestant("pythae 0.1.2", pythae, "pythae"),
    "keras-tensorflow": Contestant("Keras 3 on TensorFlow", partial(keras_fit, "tensorflow"), "keras"),
    "torch-loader": Contestant("PyTorch, DataLoader loop", partial(torch_eager, True)),
    "torch-memory": Contestant("PyTorch eager, in memory, fused Adam", partial(torch_eager, False)),
    "keras-jax": Contestant("Keras 3 on JAX", partial(keras_fit, "jax"), "keras"),
    "jax-scan": Contestant("JAX, whole epoch compiled", jax_scan, "keras"),
    "vaelab": Contestant("vaelab, K = 1", vaelab_epoch),
    "products": Contestant("bare matrix products (no training)", bare_products),
}


SMOKE = ("vaelab",)  # one, since each imports everything again


def load_images(data: Path, smoke: bool) -> np.ndarray:
    import numpy as np

    if smoke:
        return np.random.default_rng(0).random((5 * BATCH, PIXELS), np.float32)
    raw = gzip.decompress((data / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, PIXELS).astype(np.float32) / np.float32(255)


def serve(name: str, data: Path, epochs: int, smoke: bool) -> None:
    """Say that it is warm, then answer each line of standard input with one turn, in lines of JSON."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    try:
        train = CONTESTANTS[name].build(load_images(data, smoke))
        train(1)
    except (ImportError, NotImplementedError) as error:
        problem = "not installed" if isinstance(error, ImportError) else "not written yet"
        print(json.dumps({"problem": f"{problem} ({error})"}), file=out)
    else:
        print(json.dumps({"ready": True}), file=out)
        for _ in sys.stdin:
            print(json.dumps({"turns": [train(epochs)]}), file=out)


def row(c: Contestant) -> str:
    if c.problem:
        return f"| {c.title} | {c.problem} |" + " – |" * 6
    walls, processor, losses = zip(*c.turns, strict=True)
    numbers = [c.seconds(), min(walls), max(walls), median(processor)]
    numbers += [c.seconds() / CONTESTANTS[name].seconds() for name in ("products", "vaelab")]
    cells = [*(f"{number:.3f}" for number in numbers), f"{losses[-1]:.1f}"]
    return f"| {c.title} | {' | '.join(cells).replace('nan', '–')} |"


def broken_promises() -> Iterator[str]:
    """What failed, and the ratios that do not hold; a contestant that is not installed breaks none."""
    yield from (f"{c.title} failed" for c in CONTESTANTS.values() if c.problem == "failed")
    for name, least in LEAST_RATIOS.items():
        title, ratio = CONTESTANTS[name].title, CONTESTANTS[name].seconds() / CONTESTANTS["vaelab"].seconds()
        if math.isnan(ratio):
            print(f"not checked: at least {least} x faster than {title}")
        elif ratio < least:
            yield f"vaelab is not {least} x faster than {title}"


def compare(arguments: argparse.Namespace) -> None:
    names = arguments.only or (SMOKE if arguments.smoke else CONTESTANTS)
    for name in names:
        CONTESTANTS[name].start(name, arguments)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        for name in names:
            CONTESTANTS[name].take_turn()
    for name in names:
        CONTESTANTS[name].stop()
    print("| contestant | median s/epoch | min | max | CPU s | ÷ products | ÷ vaelab | training loss |")
    print("|---|" + "---:|" * 7, *(row(CONTESTANTS[name]) for name in names), sep="\n")
    if broken := [*broken_promises()]:
        raise SystemExit("\n".join(broken))


def set_up(folder: Path) -> None:
    for name, installs in ENVIRONMENTS.items():
        venv.create(folder / name, with_pip=True)
        for packages in installs:
            subprocess.run([folder / name / "bin/pip", "install", *packages.split()], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per epoch of one small VAE, on one pinned core.")
    parser.add_argument("--setup", type=Path, metavar="DIR", help="create the peers' environments, and stop")
    parser.add_argument("--peers", type=Path, metavar="DIR", default="peers", help="where --setup put them")
    parser.add_argument("--data", type=Path, default=os.environ.get("VAELAB_DATA", "data"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2, help="epochs in one turn of a contestant")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="NAME", help=", ".join(CONTESTANTS))
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help="check that it runs, on random images")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds = 1
    if arguments.setup:
        return set_up(arguments.setup)
    if hasattr(os, "sched_setaffinity"):  # Linux; the contestants inherit it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.contestant:
        return serve(arguments.contestant, arguments.data, arguments.epochs, arguments.smoke)
    return compare(arguments)


if __name__ == "__main__":
    main()
