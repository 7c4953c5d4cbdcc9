"""Classifiers on the stacked engine: settings, network, training, metrics, pictures, and the scikit-learn estimator."""
