"""The negative evidence lower bound with beta fixed at 1: no weight that is tuned enters it."""

from vaelab.settings.yardsticks import NATS
from vaelab.vae.yardsticks.yardstick import VAEYardstick

NEG_ELBO = VAEYardstick("neg_elbo", "negative ELBO", "neg. ELBO", NATS)
