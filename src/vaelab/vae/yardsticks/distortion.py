"""The distortion -E log p(x|z): what reconstructions cost, the other end of a front (see `rate`)."""

from vaelab.settings.yardsticks import NATS
from vaelab.vae.yardsticks.yardstick import VAEYardstick

DISTORTION = VAEYardstick("distortion", "distortion", "distortion", NATS, partner="rate")
