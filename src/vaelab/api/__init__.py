"""The calls in Python, `vaelab.train` and its like: a module for each task."""
