"""The yardsticks of classifier searches: metrics of their predictions on validation."""

from __future__ import annotations

from vaelab.settings.yardsticks import NATS, Yardstick

# Values of the option `yardstick`, the default first; each is a metric of `classifier.scores`.
YARDSTICKS = {
    each.name: each
    for each in (
        Yardstick("accuracy", "accuracy", "accuracy", rises=True),
        Yardstick("log_loss", "log-loss", "log-loss", NATS),
        Yardstick("macro_f1", "macro-averaged F1", "macro F1", rises=True),
        Yardstick("balanced_accuracy", "balanced accuracy", "balanced accuracy", rises=True),
    )
}
