"""Fused training of dense networks with a target: what the heads of classifiers and regressors share."""
