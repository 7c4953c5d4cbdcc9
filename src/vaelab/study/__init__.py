"""Studies: cohorts of trials, rungs, workers that train them, and the study folder."""
