"""How to read each picture: one caption per picture name, worded for the kind of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.settings.yardsticks import VALIDATION_ROWS

QUICK = (
    f"Each epoch is evaluated with few draws of z on at most {VALIDATION_ROWS:,} validation examples, so its "
    "values differ slightly from the final ones, which use more draws."
)

LINES = (
    " Numbers are in standard deviations of the data, levels have their probability; those that move most are named, "
    "with their values at both ends; counts are of a row of typical size."
)
DRAWN = "Samples include the noise of p(x|z), so their spread should be that of the data."


def captions(data: Mapping[str, Any]) -> dict[str, str]:
    """The caption of every picture of a run or study; `data` as returned by `describe`."""
    image, labelled = _kind(data)
    return {
        "losses": (
            "Loss by epoch. Left: the negative ELBO, lower is better. If validation rises "
            "while train keeps falling, the model overfits. Validation can be below train, which is averaged while the "
            "model still improves during the epoch, with the noise of training; and the kept epoch is the best on "
            "validation. Right: its two terms. A rate near zero means that the "
            f"latents are unused. {QUICK}"
        ),
        "latent": (
            "Where the encoder maps examples. "
            + ("Islands of one colour mean that the latents separate the classes without labels; " if labelled else "")
            + "dashed circles contain 39 % and 86 % of a standard normal prior; points far outside are examples that "
            "samples will not resemble. Grey bars are unused dimensions."
        ).replace(". dashed", ". Dashed"),
        "reconstructions": (
            "Validation examples, their reconstructions, and the difference. Blur or lost detail is information "
            "missing from the latents."
            if image
            else "Validation examples, one per column, and their reconstructions: a large distance between dot and "
            "ring, or a wrong level, is information missing from the latents. A value that is missing has no dot; its "
            "ring is what the model expects there. Of a wide table the columns with the largest errors are shown."
        ),
        "drivers": (
            "How much each column's mean, or a level's probability, changes while one latent goes from its 10 % to its "
            "90 % quantile: orange rises, blue falls. A latent that moves many columns is what they share; of a wide "
            "table those that move most are shown."
        ),
        "samples": _samples(image, labelled, _is_mixed(data)),
        "front": (
            "Every trial by both yardsticks, and the finalists after retraining, numbered, with standard errors over "
            "seeds; the steps are the front of their means. No member of the front is worse than another by both: "
            "choose the point whose exchange suits you; its runs are in finals/."
        ),
        "history": (
            "One mark per trial, in order. The line is the best value so far: where it "
            "stays flat for long, more trials would have helped little."
        ),
        "rungs": (
            "Each trial's path through the rungs. If many lines cross after a rung, pruning there was "
            "risky; if they stay parallel, it was safe. The last point of a finished trial is its value: of its best "
            "epoch, evaluated again with more draws of z or on more rows than after an epoch. The lowest of many such "
            "values is lucky, so a line may turn up there."
        ),
        "importance": (
            "How much each setting of the best trials differs from that of all trials, including pruned ones. A small "
            "bar means that the searched range made no difference, not that the setting never matters."
        ),
        "latent_size": (
            "Every finished trial by its number of latent dimensions. Look for where the lower "
            "line stops falling: more dimensions bring no gain."
        ),
        "map": (
            f"Left: where the encoder maps examples{', by class' if labelled else ''}; dashed circles contain 39 % and "
            "86 % of a standard normal prior. Right: the same plane decoded, at points that are "
            f"equally likely under the prior. Find {'a class' if labelled else 'a group'} on the left and see "
            "what is decoded there on the right; where there are no examples, the decoder extrapolates."
        ),
        "traversals": (
            "One latent dimension at a time varies from -2.5 to 2.5 standard deviations of the prior while the others "
            "stay at its mean. A dimension whose "
            f"{'row' if image else 'columns'} change in one nameable way is interpretable; one that hardly changes "
            f"anything is unused.{'' if image else LINES}"
        ),
        "interpolations": (
            "From one validation example to another, along the straight line between their latents. Good latent "
            f"spaces pass through plausible examples; {'a blur' if image else 'implausible values'} halfway "
            f"{'means' if image else 'mean'} that the line leaves the region of the examples."
            f"{'' if image else LINES + ' Dots are the examples themselves.'}"
        ),
        "architectures": (
            "Each model as bars; their height is the logarithm of the layer width: the example on the left, the "
            "latents z in the middle, the reconstruction on the right. Most parameters are between the tallest "
            "adjacent bars."
        ),
        "rate_distortion": (
            "Rate (x) against distortion (y), one dot per seed. All points on a "
            "dashed line have the same negative ELBO: a model on a lower line is better, and its position along the "
            "line shows how it trades rate for distortion."
        ),
        "kl": (
            "The KL of each latent dimension in nats, sorted, since dimensions have no inherent order. Where a "
            "line drops to zero, further dimensions are unused; the area under it is the rate."
        ),
        "data": (
            "The training examples: mean and standard deviation of all pixels, how often each "
            f"intensity occurs{', and how many examples each class has' if labelled else ''}."
            if image
            else "The training examples: histograms of numbers and dates between their lowest and highest value, "
            "positive numbers and large counts on logarithmic scales, and the shares of levels"
            f"{', coloured by class where there are few' if labelled else ''}. Of a wide table the columns that vary "
            "most for their size are shown."
        ),
        "examples": (
            "Training examples, one row per class. Look for outliers, wrong labels and the variation within a class: "
            "that is what a model has to reconstruct."
            if labelled
            else "Training examples. Look for outliers and how much they vary: that is what has to be reconstructed."
        ),
        "missing": (
            "Left: how often each column is missing. Right: columns of squares are sets that are missing together, "
            "with the number of rows that lack exactly these. The model takes values to be missing for reasons that "
            "the other columns explain; where the missing values themselves are the reason, what it fills in is biased."
        ),
        "correlations": (
            "Correlations between the columns of a table: orange for positive, blue for negative; each over the rows "
            "in which both are there, of positive numbers and counts over logarithms. "
            "Strong blocks can be described by a few latent dimensions."
        ),
    }


def comparison_captions(data: Mapping[str, Any]) -> dict[str, str]:
    """The same for a comparison, where a picture shows several models."""
    (image, labelled), mixed = _kind(data), _is_mixed(data)
    return captions(data) | {
        "losses": (
            "Loss by epoch of all models, lower is better: validation solid, training dashed, with bands from "
            "the lowest to the highest seed. Bands that overlap at the end show no clear difference; a dashed line far "
            f"below its solid one means that the model overfits. {QUICK}"
        ),
        "reconstructions": (
            "Reconstructions of the same validation examples by every model. "
            if image
            else "The reconstruction error of every model on each column of the same validation examples: of numbers "
            "in standard deviations (of positive numbers and counts of the logarithm), of levels the share that is "
            "wrong; over the values that are there. "
        )
        + "The value next to a name is the root mean squared error over what is shown.",
        "samples": (
            "The same samples from the prior decoded by every model, one sample per position. Decoded means are "
            "smoother than data: no pixel noise is added."
            if image
            else "The spread of every column in validation rows, and as decoded by every model from one set of samples "
            "of the prior. "
            + (DRAWN if mixed else "Decoded means spread less than data: no noise from p(x|z) is added.")
        ),
        "latent": (
            f"Where the encoder maps examples{', by class' if labelled else ''}; dashed circles contain 39 % and 86 % "
            "of a standard normal prior. With two latent dimensions the decoded plane is shown next to "
            "it, at points that are equally likely under the prior; with more, the two dimensions with the highest KL "
            "and a PCA projection."
        ),
    }


def _kind(data: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the examples are images, and whether they have labels; images if unknown."""
    shape = data.get("shape")
    return not isinstance(shape, list | tuple) or len(shape) >= 2, bool(data.get("classes"))


def _is_mixed(data: Mapping[str, Any]) -> bool:
    """Whether the columns of a table are more than complete real numbers."""
    return bool(set(data.get("kinds") or ()) - {"real"} or data.get("likelihood") == "mixed")


def _samples(image: bool, labelled: bool, mixed: bool) -> str:
    by_class = "By class: drawn from a Gaussian around the latents of that class. " if labelled else ""
    prior = "From the prior: what the model considers typical data. "
    good = "Good by class and bad from the prior means that the prior covers empty space. " if labelled else ""
    if mixed:
        by_class = "Squares: decoder means by class, from a Gaussian around its latents. " if labelled else ""
        said = (
            "New examples from the prior beside the data: numbers as intervals, positive ones and counts over "
            "logarithms; levels as shares."
        )
        return f"{said} {DRAWN} {by_class}".strip()
    means = (
        "Samples are decoder means, which are smoother than data."
        if image
        else "Samples are decoder means, so their spread is narrower than that of the data."
    )
    return f"New examples. {by_class}{prior}{good}{means}"


# Pictures of a mixture on the latents of one model.
CLUSTER = {
    "pca": (
        "The latents projected on their first two principal components: examples as dots in the colour of their true "
        "class, components as ellipses at two standard deviations in the colour of the class they predict. What "
        "overlaps here may be separate in other dimensions. An ellipse over dots of another colour predicts the wrong "
        "class."
    ),
    "components": (
        "One row per component, by decreasing weight: its decoded mean, the nearest training examples, and samples "
        "from it. A row with one class in one style is a good component; a row that mixes classes causes errors."
    ),
    "class_samples": (
        "New examples of each class, decoded from samples of the components that predict it. Another class in a row "
        "comes from a component that overlaps it."
    ),
    "confusion": (
        "True classes as rows, predictions of the method that answers new rows as columns, on the test split; the "
        'last column counts "unknown": predictions that no label supports. Orange squares are the errors to look at '
        "first."
    ),
    "coverage": (
        "Rejecting the least confident predictions: accuracy of the rest against the share that remains. A curve that "
        "stays flat and high towards the right means that the probabilities identify the errors."
    ),
    "budget": (
        "Accuracy on the test split against the number of labels. All methods use the same labels. Where the mixture "
        "and the graph are above the logistic probe and the nearest neighbours, the unlabelled examples help."
    ),
    "em": (
        "Left: the log-likelihood at every EM iteration, which must never fall. Right: BIC, lower is "
        "better, which weighs the fit against the number of parameters; it compares only mixtures on this encoder."
    ),
}


def cluster_captions(data: Mapping[str, Any]) -> dict[str, str]:
    """The captions of a clustering, worded for the kind of data."""
    image, labelled = _kind(data)
    found = dict(CLUSTER)
    if not labelled:
        found["pca"] = (
            "The latents projected on their first two principal components: examples as dots in the colour of "
            "their cluster, components as ellipses at two standard deviations. What overlaps "
            "here may be separate in other dimensions."
        )
    if image:
        return found
    return found | {
        "components": (
            "One column per component, by decreasing weight: its decoded mean, in standard deviations from the mean of "
            "the data, for levels from their share. Rows that differ most between components come first: they say what "
            "a component is."
        )
    }


ROW_SCORES = {
    "scores": (
        "Left: scores of the rows that calibrate and of the rows of the file; right of the dashed line rows are "
        "flagged. Right: the p-values. If the rows of the file are like those that calibrate, all bars are near the "
        "dashed line; "
        "a high first bar is anomalies, a slope means that the file as a whole has another distribution."
    ),
}

DRIFT = {
    "drift": (
        "Left: how far each column is from the rows that it is compared with, orange where that is more than chance. "
        "Right: -log p(x) of the rows by the bound, with their medians dashed; further right is less likely. Columns "
        "may differ while scores do not, if the model has seen such rows; and rows may be less likely although no "
        "column differs, if columns no longer go together as they did."
    ),
}

ANOMALY = {
    "anomaly": (
        "Every score for the model's own test examples (blue) and for the anomalous ones (orange); further right is "
        "more anomalous. Where orange is left of blue, the score ranks anomalies as more normal: it is "
        "marked as failed and not inverted, since the right direction cannot be known in advance."
    ),
}

SYNTHETIC = {
    "marginals": (
        "Test rows (filled) and synthetic rows (orange) by column, those that differ most first; (log): on a "
        "logarithmic axis. Of levels the share among synthetic rows is written. A peak that synthetic rows lack is a "
        "value that occurs often, such as 0."
    ),
    "associations": (
        "Associations in test rows, in synthetic rows, and the difference: orange for positive, blue for negative. "
        "Associations that are weaker in synthetic rows are dependence that the model has not learned; some difference "
        "is chance, as between training and test rows."
    ),
    "nearest": (
        "The share of rows whose nearest training row is at most this far away. If the orange curve is left of the "
        "blue one, synthetic rows are closer to training rows than new real rows are; if it is right of it, they are "
        "more unusual."
    ),
}

CLASSIFIER = {
    "learning": (
        "Log-loss and accuracy after every epoch. Train metrics are averaged during the epoch, with dropout and "
        "augmentation, so they may be worse than those on validation. Log-loss that rises while accuracy stays flat "
        "means that the model becomes overconfident; the dot is the kept epoch."
    ),
    "reliability": (
        "How often a prediction of a given probability is correct. Unscaled networks are often overconfident: dots "
        "below the dashed line. One number, the temperature, is fitted on validation and divides the logits; no "
        "prediction changes."
    ),
    "confusion": (
        "True classes as rows, predictions as columns. Orange squares are the errors to look at first: pairs of "
        "classes that the model confuses."
    ),
    "mistakes": (
        "The most confident wrong predictions. Check whether the label is correct: a good model's most confident "
        "errors are often label errors."
    ),
}

REGRESSOR = {
    "learning": (
        "Log-density and R² after every epoch. Train metrics are averaged during the epoch, with dropout, so they may "
        "be worse than those on validation. A log-density that falls while R² stays flat means that the model becomes "
        "overconfident; the dot is the kept epoch."
    ),
    "predictions": (
        "Each row's true value above its prediction; bars are the calibrated intervals, orange where they miss the "
        "true value. A good model's dots lie along the dashed diagonal."
    ),
    "residuals": (
        "Left: true value minus prediction in scales of the noise, against the prediction: a bend or a funnel is "
        "structure that the model misses. Right: how often each size occurs, beside the density that the model assumes."
    ),
}

INVERSE = {
    "bands": (
        "Posterior draws for scored measurements: at each point of a curve, 95 % of the draws are in the band. Where "
        "it is wide, y says little about x; where there are several solutions, it holds them all."
    ),
    "calibration": (
        "The rank of the true x among posterior draws for its y, over validation pairs: for a correct posterior every "
        "rank is equally likely. A hump means that draws are too wide, a bowl that they are too narrow, a slope that "
        "they are biased. Refined draws are solutions and are not included."
    ),
    "candidates": (
        "Candidates from the network for some measurements, before any filter. Dashed: the true x and "
        "its y. Curves far from the dashed x whose f(x) still matches the dashed y are other solutions."
    ),
    "ends": (
        "The end points of each candidate's two lines, for the measurements with the most solutions. A "
        "ring without a blue point is a solution that was not found; points between rings are misses."
    ),
    "race": (
        "The share of all solutions found, against the cost. A curve further left and higher is better; where "
        "a method without a network reaches the network's recall, its seconds are the time that training can save."
    ),
    "refinement": (
        "The distance of f(x) from y as candidates are refined. A band that stays above the gate is the share of "
        "candidates that started too far from any solution."
    ),
    "losses": (
        "The conditional bound by epoch, lower is better; right: its two terms. A rate near zero means posterior "
        "collapse: the latents no longer distinguish between solutions."
    ),
}

CORNER = (
    "Posterior draws of x for one scored measurement: a histogram of each input, and each pair of inputs. A narrow "
    "histogram is an input that y determines; a tilted cloud is a combination of inputs that y determines better than "
    "each of them."
)

# Of problems whose x is a few numbers, not curves.
INVERSE_NUMBERS = {
    "candidates": (
        "Candidates from the network for some measurements, before any filter, in the first two inputs. The cross is "
        "the true x; blue points far from it are other solutions."
    ),
    **dict.fromkeys(("corner-0", "corner-1", "corner-2"), CORNER),
}
