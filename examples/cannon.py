"""A cannon seen by a noisy radar: which speed, angle and drag explain a measured flight? The simulation is slow.

    python examples/cannon.py

The ball's equation of motion under quadratic drag is integrated step by step, outside torch: the forward function has
no gradient, so `wy` stays 0 and samples are ranked by f. What counts is the number of simulations. The network's
candidates are compared with refined nearest examples and prior draws at equal simulations.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from vaelab.inverse import fitted as inverter
from vaelab.inverse import problems, scores

NOISE = 0.3  # metres, of every measured coordinate
TIMES = np.linspace(0.3, 3.0, 10)  # seconds
LOW, HIGH = np.array([20.0, 0.3, 0.0]), np.array([60.0, 1.3, 0.02])  # speed m/s, angle rad, drag 1/m


def fly(x: torch.Tensor) -> torch.Tensor:
    """Positions (n, 2, 10) in metres at TIMES for (speed, angle, drag) (n, 3), by Heun's rule in steps of 1 ms."""
    speed, angle, drag = x.detach().cpu().double().numpy().clip(0, 2 * HIGH).T  # draws may leave what can be
    position = np.zeros((len(x), 2))
    velocity = np.stack([speed * np.cos(angle), speed * np.sin(angle)], 1)
    seen, h, t = [], 1e-3, 0.0

    def acceleration(v: np.ndarray) -> np.ndarray:
        return -drag[:, None] * np.linalg.norm(v, axis=1, keepdims=True) * v - np.array([0.0, 9.81])

    for wanted in TIMES:
        while t < wanted - h / 2:
            a = acceleration(velocity)
            predicted = velocity + h * a
            position = position + h * (velocity + predicted) / 2
            velocity = velocity + h * (a + acceleration(predicted)) / 2
            t += h
        seen.append(position)
    return torch.from_numpy(np.stack(seen, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=150)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.uniform(LOW, HIGH, (chosen.examples, 3)) / HIGH  # in units in which every input reaches to 1
    began = time.perf_counter()

    def forward(u: torch.Tensor) -> torch.Tensor:
        return fly(u * torch.from_numpy(HIGH))

    problem = problems.create("cannon", x, None, forward, noise=NOISE, gate=2 * NOISE)
    print(f"{chosen.examples} simulations: {time.perf_counter() - began:.1f} s")
    settings = {"hidden": "128-128", "latent_dim": 3, "epochs": chosen.epochs, "batch_size": 100, "lr": 2e-3}
    began = time.perf_counter()
    model = inverter.train(problem, inverter.specs_of(problem, settings), spectrum=False)
    print(f"training: {time.perf_counter() - began:.1f} s; KL per dimension {np.round(model.figures['kl'], 2)} nats")
    judged = inverter.judge(model, 20, 1, walk=0)
    print(f"{'method':38s}{'simulations':>12s}{'pass':>8s}")
    for own in judged.attempts:
        print(f"{own.name:38s}{own.evaluations / len(own.x):12.0f}{own.score.precision:8.3f}")
    truth, y = problem.rows("validation")
    calibrated = scores.rmse(problem, model.draw(y[:50], 20).x, y[:50])
    print(f"posterior draws miss y by {calibrated.mean():.2f} m where the noise alone makes {NOISE} m")
    inside = model.draw(y, 99).x < truth[:, None]
    print(f"share of truths below the draws' 90 % point: {(inside.mean(1) < 0.9).mean(0).round(2)} (0.9 if calibrated)")


if __name__ == "__main__":
    main()
