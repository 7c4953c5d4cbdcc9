"""Fused training of regressors: the steps of one member, and their use for a stack."""
