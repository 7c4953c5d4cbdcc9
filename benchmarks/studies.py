"""40 VAEs of different widths on digits: as vaelab's studies train them, and as users of JAX and Keras would.

    python benchmarks/studies.py --peers DIR   # DIR as made by `peers.py --setup DIR`: DIR/keras has JAX and Keras
    python benchmarks/studies.py --smoke       # vaelab alone: three models, two epochs

Widths 8 to 64, latents 2 to 16, batches of 32, 30 epochs with validation after each; processor seconds on one pinned
core with one thread, imports not counted. A user of JAX compiles the epoch for every shape and keeps what was compiled
for those that come again; one of Keras calls `fit` on a model of JAX's backend. The last row is a whole `vaelab.tune`
of such settings without pruning: suggestions, database, files, finals and page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "KERAS_BACKEND": "jax"}
os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "JAX_PLATFORMS": "cpu"}

TRIALS, EPOCHS, BATCH = 40, 30, 32
# At least how many times as fast vaelab's fused stacks are.
LEAST = {"autograd, one at a time": 8.0, "JAX": 20.0, "Keras on JAX": 20.0}

Trial = tuple[int, int, float]  # width, latent dimensions, learning rate


def trials_of(count: int) -> list[Trial]:
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        (int(rng.integers(8, 65)), int(rng.integers(2, 17)), float(10 ** rng.uniform(-3.3, -2))) for _ in range(count)
    ]


def digits() -> tuple[Any, Any]:
    """Rows in [0, 1] to train on and to validate, from a file that this program writes for all."""
    import numpy as np

    with np.load(os.environ["DIGITS"]) as file:
        return file["train"], file["validation"]


def vaelab(engine: str, together: bool, trials: list[Trial], epochs: int) -> float:
    import torch

    from vaelab.data import load
    from vaelab.engine import training
    from vaelab.engine.process import keep_freed_memory
    from vaelab.vae.feed import Feed, resolve
    from vaelab.vae.learning import Variational
    from vaelab.vae.spec import Spec

    torch.set_num_threads(1)
    keep_freed_memory()
    data, method = load("digits"), Variational()
    specs = [
        resolve(Spec(hidden=(w,), latent_dim=z, lr=lr, epochs=epochs, seed=k, engine=engine, device="cpu"), data)
        for k, (w, z, lr) in enumerate(trials)
    ]
    feed = Feed(data, specs[0])
    list(training.epochs(training.Stack(specs[:1], feed, method), 1))  # kernels are loaded
    groups: dict[object, list[Spec]] = {}
    for spec in specs:
        groups.setdefault(method.key(spec, feed.features) if together else spec.seed, []).append(spec)
    began = time.process_time()
    for group in groups.values():
        for _ in training.epochs(training.Stack(group, feed, method)):
            pass
    return time.process_time() - began


def study(trials: list[Trial], epochs: int) -> float:
    import torch

    from vaelab.api.studies import tune
    from vaelab.data import load

    torch.set_num_threads(1)
    space = {"width": (8, 64), "latent_dim": (2, 16), "lr": (5e-4, 1e-2, "log")}
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        tune(
            load("digits"), space, len(trials), settings={"layers": 1, "epochs": epochs}, workers=1, figures="none",
            final_seeds=1, prune=False, out=Path(folder) / "study",
        )  # fmt: skip
        return time.process_time() - began


def jax(trials: list[Trial], epochs: int) -> float:
    import jax
    from jax import nn, random
    from jax import numpy as jnp
    from jax.example_libraries.optimizers import adam

    train, validation = (jnp.asarray(x) for x in digits())
    steps = len(train) // BATCH

    def loss(params: Any, x: Any, key: Any) -> Any:
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = params
        mean, log_var = jnp.split(nn.silu(x @ w1 + b1) @ w2 + b2, 2, axis=1)
        z = mean + jnp.exp(0.5 * log_var) * random.normal(key, mean.shape)
        logits = nn.silu(z @ w3 + b3) @ w4 + b4
        cost = (nn.softplus(logits) - x * logits).sum()
        return (cost + 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum()) / len(x)

    initial, update, params_of = adam(lambda step: 1.0)  # the rate is an argument, so that shapes alone are compiled

    def epoch(params: Any, state: Any, count: Any, rate: Any, key: Any) -> Any:
        def step(carry: Any, drawn: Any) -> Any:
            params, state, count = carry
            grads = jax.grad(loss)(params, train[drawn[0]], drawn[1])
            moved = update(count, grads, state)
            before, after = params_of(state), params_of(moved)
            params = jax.tree.map(lambda p, b, a: p + rate * (a - b), params, before, after)
            return (params, moved, count + 1), None

        shuffle, noise, judge = random.split(key, 3)
        order = random.permutation(shuffle, len(train))[: steps * BATCH].reshape(-1, BATCH)
        (params, state, count), _ = jax.lax.scan(step, (params, state, count), (order, random.split(noise, steps)))
        return params, state, count, loss(params, validation, judge)

    compiled: dict[tuple[int, int], Any] = {}
    began = time.process_time()
    for number, (width, latent, rate) in enumerate(trials):
        run = compiled.setdefault((width, latent), jax.jit(epoch))
        shapes = (train.shape[1], width), (width, 2 * latent), (latent, width), (width, train.shape[1])
        key = random.key(number)
        params = [(random.normal(random.fold_in(key, s[0]), s) / s[0] ** 0.5, jnp.zeros(s[1])) for s in shapes]
        state, count = initial(params), 0
        for e in range(epochs):
            params, state, count, value = run(params, state, count, rate, random.fold_in(key, e))
            float(value)
    return time.process_time() - began


def keras(trials: list[Trial], epochs: int) -> float:
    import keras

    from peers import keras_model

    train, validation = digits()
    began = time.process_time()
    for width, latent, rate in trials:
        model = keras_model(train.shape[1], width, latent, "silu")
        model.compile(optimizer=keras.optimizers.Adam(rate))
        model.fit(train, batch_size=BATCH, epochs=epochs, validation_data=(validation,), verbose=0)
    return time.process_time() - began


CONTESTANTS: dict[str, Callable[[list[Trial], int], float]] = {
    "autograd, one at a time": lambda trials, epochs: vaelab("autograd", False, trials, epochs),
    "autograd, stacks": lambda trials, epochs: vaelab("autograd", True, trials, epochs),
    "fused, one at a time": lambda trials, epochs: vaelab("fused", False, trials, epochs),
    "fused, stacks": lambda trials, epochs: vaelab("fused", True, trials, epochs),
    "JAX": jax,
    "Keras on JAX": keras,
    "vaelab.tune, all of it": study,
}
PEERS = ("JAX", "Keras on JAX")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, metavar="DIR", help="environments of peers.py; without, vaelab alone")
    parser.add_argument("--smoke", action="store_true", help="check that it runs")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    trials, epochs = (trials_of(3), 2) if arguments.smoke else (trials_of(TRIALS), EPOCHS)
    if arguments.contestant:
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # other output must not mix with the answer
        print(json.dumps(CONTESTANTS[arguments.contestant](trials, epochs)), file=out)
        return
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import numpy as np

    from vaelab.data import load

    data = load("digits")
    rows = {name: data.flat[data.splits[name]].astype(np.float32) / 16 for name in ("train", "validation")}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "digits.npz", **rows)
        for name in CONTESTANTS:
            if name in PEERS and arguments.peers is None:
                continue
            if arguments.smoke:  # in a process of its own each would import everything again
                found[name] = CONTESTANTS[name](trials, epochs)
                continue
            python = str(arguments.peers / "keras/bin/python") if name in PEERS else sys.executable
            command = [python, __file__, "--contestant", name, *(["--smoke"] if arguments.smoke else [])]
            environment = os.environ | {"DIGITS": str(Path(folder) / "digits.npz")}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found[name] = json.loads(done.stdout)
    print(f"| {len(trials)} models, {epochs} epochs | processor seconds | / fused stacks |\n|---|---:|---:|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.2f} | {seconds / found['fused, stacks']:.1f} |")
    slow = [
        f"{name}: {found[name] / found['fused, stacks']:.1f} times the fused stacks, not {least}"
        for name, least in LEAST.items()
        if name in found and found[name] < least * found["fused, stacks"]
    ]
    if slow and not arguments.smoke:
        raise SystemExit("\n".join(slow))


if __name__ == "__main__":
    main()
