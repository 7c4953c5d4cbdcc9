"""The yardsticks of searches for inverse problems, on validation curves, independent of loss weights."""

from __future__ import annotations

from vaelab.settings.yardsticks import NATS, Yardstick

# `recall` and `precision` are for gated, refined candidates; `bound` is KL + NLL(x).
YARDSTICKS = {
    each.name: each
    for each in (
        Yardstick("recall", "recall", "recall", rises=True),
        Yardstick("precision", "precision", "precision", rises=True),
        Yardstick("bound", "conditional bound", "bound", NATS),
    )
}
