"""Runs to be stored, and what the tests of the store ask of refusals."""

import subprocess
import sys

import numpy as np
import pytest

from vaelab.errors import StoreError
from vaelab.store import (
    building,
    save_run,
)

RUN_FILES = {"spec.json", "data.json", "model.safetensors", "history.jsonl", "metrics.json", "manifest.json"}


def refusal(call, *arguments, **named):
    """The message of a StoreError, which must be one readable line."""
    with pytest.raises(StoreError) as caught:
        call(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def weights():
    rng = np.random.default_rng(0)
    return {
        "encoder.0": rng.normal(size=(7, 5)).astype(np.float32),
        "scale": np.array(0.5),
        "kept": np.array([True, False, True]),
        "index": np.arange(4),
    }


def write_run(folder, **changes):
    content = {
        "spec": {"latent_dim": 2, "hidden": (8, 4), "lr": 1e-3},
        "data": {"name": "digits", "classes": ["null", "größer", "<img onerror=x>\n"]},
        "arrays": weights(),
        "history": [{"epoch": 0, "loss": 3.5}, {"epoch": 1, "loss": 2.5}],
        "metrics": {"neg_elbo": 2.25},
    }
    return save_run(folder, **{**content, **changes})


def run_python(code, *arguments, **named):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **named,
    )


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def build(folder, overwrite=False, text="new", **options):
    """A study that consists of its config.toml."""
    with building(folder, overwrite, **options) as place:
        (place / "config.toml").write_text(text)
    return folder
