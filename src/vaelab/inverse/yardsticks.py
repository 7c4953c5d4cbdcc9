"""What may judge the trials of a search for inverse problems, on validation curves; no weight of the loss enters."""

from __future__ import annotations

from vaelab.settings.yardsticks import NATS, Yardstick

# `recall` and `precision` are of gated, refined candidates; `bound` is KL + NLL(x).
YARDSTICKS = {
    each.name: each
    for each in (
        Yardstick("recall", "recall", "recall", rises=True),
        Yardstick("precision", "precision", "precision", rises=True),
        Yardstick("bound", "conditional bound", "bound", NATS),
    )
}
