"""The rate E KL(q(z|x) || p(z)): what the latents cost, one end of a front (Alemi et al. 2018)."""

from vaelab.settings.yardsticks import NATS
from vaelab.vae.yardsticks.yardstick import VAEYardstick

RATE = VAEYardstick("rate", "rate", "rate", NATS, partner="distortion")
