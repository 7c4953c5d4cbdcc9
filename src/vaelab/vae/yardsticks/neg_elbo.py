"""The negative evidence lower bound with beta fixed at 1, independent of tuned loss weights."""

from vaelab.settings.yardsticks import NATS
from vaelab.vae.yardsticks.yardstick import VAEYardstick

NEG_ELBO = VAEYardstick("neg_elbo", "negative ELBO", "neg. ELBO", NATS, is_bound=True)
