"""sbi's method is trained as its users train it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from vaelab.inverse import files, npe
from vaelab.inverse.conditional import as_table


def test_training_is_one_call_on_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, dict[str, int]]] = []

    class NPE:
        def __init__(self, **_: Any) -> None:
            self.pairs = 0

        def append_simulations(self, x: torch.Tensor, y: torch.Tensor) -> NPE:
            assert len(x) == len(y)
            self.pairs = len(x)
            return self

        def train(self, **options: int) -> Any:
            calls.append((self.pairs, options))

    package, inference = ModuleType("sbi"), ModuleType("sbi.inference")
    inference.NPE = NPE  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sbi", package)
    monkeypatch.setitem(sys.modules, "sbi.inference", inference)
    problem = files.load("product", (), None, 0)
    npe.fit(problem, as_table(problem)[1], seconds=0.05)
    pairs = len(problem.splits["train"])
    (_, first), (_, last) = calls
    assert [n for n, _ in calls] == [pairs, pairs]
    assert set(first) == set(last) == {"max_num_epochs"}
    assert first["max_num_epochs"] == 1 < last["max_num_epochs"]
