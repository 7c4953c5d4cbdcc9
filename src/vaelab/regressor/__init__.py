"""Regressors: settings, density, training, metrics, intervals, and studies of them."""
