"""A training step of a convolutional VAE against a plain PyTorch module of the same net and JAX; and its breakdown.

    python benchmarks/convolutions.py [--channels 16-32] [--blocks 1] [--kernel 5] [--rounds 7] [--jax PYTHON] [--smoke]

28 x 28 images, batches of 100, one pinned core, random pixels. The contestants take turns; the table holds medians of
processor time over the rounds. It fails if our step takes more than 1.1 times that of the plain module.
PYTHON is the Python of an environment with jax; without one that row is missing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

STEPS, BATCH, LATENT, HIDDEN = 8, 100, 16, (256, 128)
MOST = 1.1


def stack(settings: dict[str, object], members: int = 1):
    """A stack on random pictures, one batch of which is an epoch's step."""
    import numpy as np

    from vaelab.data import from_arrays
    from vaelab.engine import training
    from vaelab.vae.feed import Feed, resolve
    from vaelab.vae.learning import Variational
    from vaelab.vae.spec import Spec

    x = np.random.default_rng(0).integers(0, 256, (1200, 28, 28), np.uint8)
    data = from_arrays(x, seed=0)
    spec = resolve(Spec.create(**settings, batch_size=BATCH, epochs=1000, device="cpu"), data)
    return training.Stack([spec.replace(seed=k) for k in range(members)], Feed(data, spec), Variational())


def ours(settings: dict[str, object], members: int = 1) -> Callable[[], None]:
    from vaelab.engine import training

    own = stack(settings, members)
    return lambda: training.run_epoch(own, STEPS) and None


def plain(settings: dict[str, object]) -> Callable[[], None]:
    """The same network as torch.nn modules, with torch.optim.Adam, with a standard training loop."""
    import torch
    from torch.nn import functional

    from vaelab.vae.fitted import Fitted

    own = stack({**settings, "precision": "float32"})
    fitted = Fitted.of(own.feed, own.specs[0], own.rows[0])
    down, up = fitted.encoder.layers, fitted.decoder.layers
    modules = torch.nn.ModuleList([down, up]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(modules.parameters(), lr=2e-3)
    pixels = torch.from_numpy(own.feed.data.flat)
    half = settings.get("precision") == "bf16"

    def run() -> None:
        order = torch.randperm(len(pixels))[: STEPS * BATCH].split(BATCH)
        for rows in order:
            x = pixels[rows].float() / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                mean, log_var = down(x).float().chunk(2, 1)
                logits = up(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)).float()
            cost = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = 0.5 * (log_var.exp() + mean.square() - 1 - log_var).sum()
            optimizer.zero_grad()
            ((cost + kl) / len(x)).backward()
            optimizer.step()

    return run


def jax_step(channels: list[int], blocks: int, kernel: int) -> Callable[[], None]:
    """The same layers in JAX, the whole step compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    sizes = [28]
    for _ in channels:
        sizes.append(-(-sizes[-1] // 2))
    flat = sizes[-1] ** 2 * channels[-1]

    def conv(n_in: int, n_out: int):
        weight = rng.normal(size=(kernel, kernel, n_in, n_out)) * (2 / n_in / kernel**2) ** 0.5
        return {"w": jnp.asarray(weight, jnp.float32), "b": jnp.zeros(n_out)}

    def dense(n_in: int, n_out: int):
        return {"w": jnp.asarray(rng.normal(size=(n_in, n_out)) / n_in**0.5, jnp.float32), "b": jnp.zeros(n_out)}

    ends = [1, *channels]
    widths = [flat, *HIDDEN, 2 * LATENT]
    back = [LATENT, *reversed(HIDDEN), flat]
    stages = range(len(channels))
    p = {
        "down": [conv(ends[i], ends[i + 1]) for i in stages],
        "up": [conv(ends[i + 1], ends[i]) for i in stages],
        "blocks": [[[conv(c, c) for _ in range(2)] for _ in range(blocks)] for c in channels * 2],
        "encoder": [dense(widths[i], widths[i + 1]) for i in range(3)],
        "decoder": [dense(back[i], back[i + 1]) for i in range(3)],
        "bias": jnp.zeros((28, 28, 1)),
    }
    names = ("NHWC", "HWIO", "NHWC")

    def convolve(q, x, stride=1):
        return jax.lax.conv_general_dilated(x, q["w"], (stride, stride), "SAME", dimension_numbers=names) + q["b"]

    def raise_size(q, x):
        return jax.lax.conv_transpose(x, q["w"], (2, 2), "SAME", dimension_numbers=names) + q["b"]

    def residual(own, x):
        for first, second in own:
            x = jax.nn.silu(x + convolve(second, jax.nn.silu(convolve(first, x))))
        return x

    def chain(layers, x):
        for i, layer in enumerate(layers):
            x = x @ layer["w"] + layer["b"]
            x = jax.nn.silu(x) if i < len(layers) - 1 else x
        return x

    def loss(p, x, noise):
        h = x
        for i in stages:
            h = residual(p["blocks"][i], jax.nn.silu(convolve(p["down"][i], h, 2)))
        mean, log_var = jnp.split(chain(p["encoder"], h.reshape(len(x), -1)), 2, 1)
        h = jax.nn.silu(chain(p["decoder"], mean + jnp.exp(0.5 * log_var) * noise))
        h = h.reshape(len(x), sizes[-1], sizes[-1], channels[-1])
        for i in reversed(stages):
            h = raise_size(p["up"][i], residual(p["blocks"][len(channels) + i], h))
            h = jax.nn.silu(h) if i else h
        logits = h + p["bias"]
        cost = jnp.maximum(logits, 0) - x * logits + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        kl = 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum()
        return (cost.sum() + kl) / len(x)

    @jax.jit
    def step(p, m, v, t, x, key):
        gradient = jax.grad(loss)(p, x, jax.random.normal(key, (len(x), LATENT)))
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradient)
        move = lambda w, a, b: w - 2e-3 * (a / (1 - 0.9**t)) / (jnp.sqrt(b / (1 - 0.999**t)) + 1e-8)  # noqa: E731
        return jax.tree.map(move, p, m, v), m, v

    x = jnp.asarray(rng.uniform(size=(BATCH, 28, 28, 1)), jnp.float32)
    state = [p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)]
    key = jax.random.key(0)

    def run() -> None:
        for t in range(STEPS):
            state[:] = step(*state, t + 1.0, x, jax.random.fold_in(key, t))
        jax.block_until_ready(state[0])

    return run


def milliseconds(run: Callable[[], None]) -> float:
    """Processor time of one step."""
    began = time.process_time()
    run()
    return 1e3 * (time.process_time() - began) / STEPS


def dissect(settings: dict[str, object]) -> dict[str, float]:
    """The share of each part of a step, over a few steps after a warm one: what PyTorch's profiler attributes."""
    from torch.profiler import ProfilerActivity, profile

    run = ours(settings)
    run()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    parts = {"convolutions, forward": 0.0, "convolutions, backward": 0.0, "dense layers": 0.0, "activations": 0.0,
             "optimizer": 0.0, "everything else": 0.0}  # fmt: skip
    for event in found.key_averages():
        name = event.key
        part = "everything else"
        if "mkldnn_convolution" in name or name in ("aten::_slow_conv2d_forward", "aten::mkldnn_convolution_transpose"):
            part = "convolutions, forward"
        elif name == "aten::convolution_backward" or "convolution_backward" in name:
            part = "convolutions, backward"
        elif name in ("aten::bmm", "aten::baddbmm", "aten::mm", "aten::addmm"):
            part = "dense layers"
        elif "silu" in name:
            part = "activations"
        elif "adam" in name:
            part = "optimizer"
        parts[part] += event.self_cpu_time_total
    return {part: spent / sum(parts.values()) for part, spent in parts.items()}


def jax_worker(arguments: argparse.Namespace) -> None:
    run = jax_step([int(c) for c in arguments.channels.split("-")], arguments.blocks, arguments.kernel)
    run()
    print(statistics.median(milliseconds(run) for _ in range(arguments.rounds)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", default="16-32")
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--norm", default="none")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jax", metavar="PYTHON", help="the Python of an environment with jax")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: a small net, one round")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        jax_worker(arguments)
        return 0
    if arguments.smoke:
        arguments.channels, arguments.kernel, arguments.rounds = "2", 3, 1
    import torch

    from vaelab.engine.process import keep_freed_memory
    from vaelab.engine.resolve import has_bfloat16

    torch.set_num_threads(1)
    keep_freed_memory()
    settings = {"network": "conv", "hidden": "-".join(map(str, HIDDEN)), "latent_dim": LATENT} | {
        name: getattr(arguments, name) for name in ("channels", "blocks", "kernel", "norm")
    }
    half = {**settings, "precision": "bf16"}
    contestants = {
        "vaelab": ours(settings),
        "plain PyTorch": plain(settings),
        "vaelab, K = 4, per member": ours(settings, 4),
    }
    if has_bfloat16("cpu"):
        contestants |= {"vaelab, bf16": ours(half), "plain PyTorch, bf16": plain(half)}
    for run in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, run in contestants.items():
            times[name].append(milliseconds(run) / (4 if "K = 4" in name else 1))
    medians = {name: statistics.median(own) for name, own in times.items()}
    if arguments.jax:
        command = [arguments.jax, __file__, "--worker", "--rounds", str(arguments.rounds)]
        command += [f"--{name}={getattr(arguments, name)}" for name in ("channels", "blocks", "kernel")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        medians["JAX, compiled"] = float(done.stdout)
    print("| a step of 100, milliseconds | median | vs. ours |\n|---|---:|---:|")
    for name, found in medians.items():
        print(f"| {name} | {found:.1f} | {found / medians['vaelab']:.2f} |")
    print("\n| breakdown of our step, by the profiler | share |\n|---|---:|")
    for part, share in dissect(settings).items():
        print(f"| {part} | {100 * share:.0f} % |")
    ratios = [medians["vaelab"] / medians["plain PyTorch"]]
    if "vaelab, bf16" in medians:
        ratios.append(medians["vaelab, bf16"] / medians["plain PyTorch, bf16"])
    if max(ratios) > MOST and not arguments.smoke:
        print(f"failed: a step takes {max(ratios):.2f} times that of a plain module; {MOST} allowed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
