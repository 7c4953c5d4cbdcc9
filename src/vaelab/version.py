"""The version, here alone: the package, its build and the models that leave have it from here."""

__version__ = "0.1.0"
