"""Classifiers on the stacked engine: settings, network, learning, figures, use, pictures, and the scikit-learn face."""
