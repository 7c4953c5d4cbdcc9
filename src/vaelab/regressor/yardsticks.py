"""The yardsticks of regressor searches: metrics of their predictions on validation."""

from __future__ import annotations

from vaelab.settings.yardsticks import NATS, Yardstick

# Values of the option `yardstick`, the default first; each is a metric of `regressor.scores`.
YARDSTICKS = {
    each.name: each
    for each in (
        Yardstick("log_density", "log-density", "log-density", NATS, rises=True),
        Yardstick("r2", "R²", "R²", rises=True),
    )
}
