"""Microseconds of one training step per member: vaelab, JAX with the whole epoch compiled, and bare matrix products.

    python -m venv DIR && DIR/bin/pip install jax        # once
    python benchmarks/steps.py --jax DIR/bin/python      # the table, then the asserted ratios
    python benchmarks/steps.py --smoke                   # vaelab alone, few steps

VAEs with a Bernoulli likelihood and Adam, on random rows in [0, 1]: the shapes are those of digits (64 values, batches
of 32) and MNIST (784, batches of 100). JAX trains an epoch as one `lax.scan`, members by `vmap`; its compilation, 2 to
3 seconds for every shape, is not counted. The products are those of a member's step, all layers, forward and backward.
Processor time on one pinned core with one thread; contestants take turns, medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
JAX = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "JAX_PLATFORMS": "cpu"}

# features, hidden layers, latent dimensions, activation, batch size, dropout, members, steps of an epoch
ROWS: list[tuple[int, tuple[int, ...], int, str, int, float, int, int]] = [
    (64, (32,), 4, "silu", 32, 0.0, 1, 600),
    (64, (32,), 4, "silu", 32, 0.0, 16, 60),
    (64, (32,), 4, "silu", 32, 0.0, 64, 60),
    (64, (128, 64), 8, "silu", 32, 0.0, 8, 60),
    (64, (128, 64), 8, "silu", 32, 0.2, 8, 60),
    (64, (256, 128), 16, "silu", 32, 0.0, 1, 200),
    (64, (256, 128), 16, "silu", 32, 0.0, 8, 40),
    (784, (64,), 16, "relu", 100, 0.0, 1, 100),
    (784, (512, 256), 20, "relu", 100, 0.0, 1, 60),
]
MOST_OF_JAX, MOST_OF_PRODUCTS = 1.0, {(64,): 2.0, (512, 256): 1.3}  # the latter by hidden layers, for 784 values

Epoch = Callable[[], None]


def rows_of(row: Any) -> Any:
    import numpy as np

    return np.random.default_rng(0).random((row[7] * row[4], row[0]), np.float32)


def vaelab(row: Any) -> Epoch:
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
    _, hidden, latent, activation, batch, dropout, members, _ = row
    x = rows_of(row)
    everything = np.arange(len(x))
    data = Dataset("rows", x, {"train": everything, "validation": everything[:100], "test": everything[:100]})
    spec = Spec(
        hidden=hidden, latent_dim=latent, activation=activation, batch_size=batch, dropout=dropout, epochs=10_000,
        schedule="constant", likelihood="bernoulli", device="cpu", engine="fused",
    )  # fmt: skip
    specs = [spec.replace(seed=k) for k in range(members)]
    stack = training.Stack(specs, Feed(data, spec), Variational())
    return lambda: training.run_epoch(stack) and None


def jax(row: Any) -> Epoch:
    import jax
    from jax import nn, random
    from jax import numpy as jnp
    from jax.example_libraries.optimizers import adam

    features, hidden, latent, activation, batch, dropout, members, steps = row
    act = getattr(nn, activation)
    encoder, decoder = [features, *hidden, 2 * latent], [latent, *reversed(hidden), features]
    layers = [*itertools.pairwise(encoder), *itertools.pairwise(decoder)]
    initial, update, params_of = adam(1e-3)

    def chain(params: Any, x: Any, key: Any) -> Any:
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            if i < len(params) - 1:
                x = act(x)
                if dropout:
                    kept = random.bernoulli(random.fold_in(key, i), 1 - dropout, x.shape)
                    x = jnp.where(kept, x / (1 - dropout), 0)
        return x

    def loss(params: Any, x: Any, key: Any) -> Any:
        noise, e, d = random.split(key, 3)
        mean, log_var = jnp.split(chain(params[: len(hidden) + 1], x, e), 2, axis=1)
        z = mean + jnp.exp(0.5 * log_var) * random.normal(noise, mean.shape)
        logits = chain(params[len(hidden) + 1 :], z, d)
        cost = (nn.softplus(logits) - x * logits).sum()
        return (cost + 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum()) / len(x)

    def start(key: Any) -> Any:
        return initial([(random.normal(key, s) / s[0] ** 0.5, jnp.zeros(s[1])) for s in layers])

    def epoch(state: Any, count: Any, key: Any, data: Any) -> Any:
        def step(carry: Any, drawn: Any) -> Any:
            state, count = carry
            value, grads = jax.value_and_grad(loss)(params_of(state), data[drawn[0]], drawn[1])
            return (update(count, grads, state), count + 1), value

        shuffle, noise = random.split(key)
        order = random.permutation(shuffle, len(data)).reshape(-1, batch)
        (state, _), values = jax.lax.scan(step, (state, count), (order, random.split(noise, len(order))))
        return state, values.mean()

    keys = random.split(random.key(0), members)
    whole = jax.vmap(epoch, (0, None, 0, None)) if members > 1 else epoch
    run, data = jax.jit(whole, donate_argnums=0), jnp.asarray(rows_of(row))
    state = jax.vmap(start)(keys) if members > 1 else start(keys[0])
    count = 0

    def one() -> None:
        nonlocal state, count
        drawn = random.split(random.fold_in(random.key(1), count), members)
        state, value = run(state, count, drawn if members > 1 else drawn[0], data)
        count += steps
        value.block_until_ready()

    return one


def products(row: Any) -> Epoch:
    import torch

    torch.set_num_threads(1)
    features, hidden, latent, _, batch, _, members, steps = row
    widths = [features, *hidden, 2 * latent], [latent, *reversed(hidden), features]
    todo: list[tuple[Any, Any, Any]] = []
    for chain in widths:
        for i, (n_in, n_out) in enumerate(itertools.pairwise(chain)):
            x, w, y = torch.randn(batch, n_in), torch.randn(n_in, n_out), torch.empty(batch, n_out)
            todo += [(x, w, y), (x.t(), torch.randn(batch, n_out), torch.empty(n_in, n_out))]
            if i or chain is widths[1]:
                todo.append((torch.randn(batch, n_out), w.t(), torch.empty(batch, n_in)))

    def epoch() -> None:
        for _ in range(steps * members):
            for a, b, out in todo:
                torch.mm(a, b, out=out)

    return epoch


CONTESTANTS = {"products": products, "JAX": jax, "vaelab": vaelab}


def serve(name: str) -> None:
    """Answer each line of standard input, the number of a row, with the processor seconds of an epoch."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # other output must not mix with the answers
    built: dict[str, Epoch] = {}
    for line in sys.stdin:
        row = json.loads(line)
        if line not in built:
            built.clear()
            built[line] = CONTESTANTS[name](row)
            built[line]()
        began = time.process_time()
        built[line]()
        print(time.process_time() - began, file=out)


def measure(rows: list[Any], pythons: dict[str, str], rounds: int) -> list[dict[str, float]]:
    """For each row, microseconds per step and member of each contestant."""
    found = []
    children = {
        name: subprocess.Popen(
            [python, __file__, "--contestant", name], env=os.environ | THREADS | JAX, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for name, python in pythons.items()
    }  # fmt: skip
    for row in rows:
        times: dict[str, list[float]] = {name: [] for name in children}
        for _ in range(rounds):
            for name, child in children.items():
                assert child.stdin is not None
                assert child.stdout is not None
                print(json.dumps(row), file=child.stdin)
                times[name].append(float(child.stdout.readline()))
        found.append({name: median(spent) / row[7] / row[6] * 1e6 for name, spent in times.items()})
    for child in children.values():
        child.communicate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jax", type=Path, metavar="PYTHON", help="a Python with JAX; without it only vaelab is timed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: the first rows, a few steps")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.contestant:
        return serve(arguments.contestant)
    pythons = {"products": sys.executable, "vaelab": sys.executable}
    if arguments.jax:
        pythons = {"products": sys.executable, "JAX": str(arguments.jax), "vaelab": sys.executable}
    if arguments.smoke:  # each imports everything again
        del pythons["products"]
    rows = [(*row[:6], min(row[6], 2), 3) for row in ROWS[:1]] if arguments.smoke else ROWS
    broken = []
    print("| network | K | products | JAX | vaelab | / JAX | / products |\n|---|" + "---:|" * 6)
    for row, found in zip(rows, measure(rows, pythons, 1 if arguments.smoke else arguments.rounds), strict=True):
        name = "-".join(map(str, (row[0], *row[1], row[2]))) + (", dropout" if row[5] else "")
        ours, jaxs, bare = found["vaelab"], found.get("JAX", math.nan), found.get("products", math.nan)
        print(f"| {name} | {row[6]} | {bare:.1f} | {jaxs:.1f} | {ours:.1f} | {ours / jaxs:.2f} | {ours / bare:.2f} |")
        if ours > MOST_OF_JAX * jaxs:
            broken.append(f"{name}, K = {row[6]}: {ours / jaxs:.2f} times JAX's step, not {MOST_OF_JAX}")
        most = MOST_OF_PRODUCTS.get(row[1], math.inf) if row[0] == 784 else math.inf
        if ours > most * bare:
            broken.append(f"{name}: {ours / bare:.2f} times the products, not {most}")
    if broken and not arguments.smoke:
        raise SystemExit("\n".join(broken))
    return None


if __name__ == "__main__":
    main()
