"""Studies: cohorts of trials, rungs between them, workers that train them, and the folder that remembers."""
