"""Fused training of VAEs: likelihoods' heads, the steps of one member, and their use for a stack."""

# The likelihoods with a head of their own, by their codes.
BERNOULLI, GAUSSIAN, LAPLACE, HUBER = range(4)
