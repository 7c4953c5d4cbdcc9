"""The accuracy of the 10 nearest neighbours: how well classes keep together among the latents."""

from vaelab.vae.yardsticks.probe import TaskScore

NEIGHBOURS = TaskScore(
    "neighbours",
    "10-nearest-neighbour accuracy",
    "10 neighbours",
    rises=True,
    needs_labels=True,
    how="The 10 nearest training rows, by standardised posterior means, vote with their labels; the accuracy on the "
    "labels of validation rows chose.",
    score="knn",
)
