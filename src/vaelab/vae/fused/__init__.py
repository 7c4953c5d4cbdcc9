"""Fused training of VAEs: likelihoods' heads, the steps of one member, and their use for a stack."""

# The noise models with a head of their own, by their codes; MIXED is of columns, each part with its own code.
BERNOULLI, GAUSSIAN, LAPLACE, HUBER, STUDENT, CATEGORICAL, ORDINAL = range(7)
POISSON, NEGATIVE_BINOMIAL, ZERO_INFLATED, MIXED = range(7, 11)
