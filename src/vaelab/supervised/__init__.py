"""What classifiers and regressors share: settings, network, rows with targets, training, and the trained model."""
