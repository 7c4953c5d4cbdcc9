"""How to read each picture: one caption for every name a figure can have, in the words of the data it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.settings.yardsticks import VALIDATION_ROWS

QUICK = (
    f"Each epoch is judged quickly, by one draw of z on at most {VALIDATION_ROWS:,} validation examples, so its "
    "figures differ a little from the final ones, which take more draws."
)


def captions(data: Mapping[str, Any]) -> dict[str, str]:
    """The caption of every picture of a run or study; `data` as `describe` tells it."""
    image, labelled = _kind(data)
    return {
        "losses": (
            "Loss by epoch. Left: the whole price of an example, lower is better. If validation turns up "
            "while train falls on, the model memorises. Right: its two parts. A rate near zero means that the "
            f"latents are unused. {QUICK}"
        ),
        "latent": (
            "Where the encoder puts examples. "
            + (
                "Islands of one colour mean that the code knows the class without having been told; "
                if labelled
                else ""
            )
            + "dashed circles hold 39 % and 86 % of a standard normal prior, and points far outside are examples that "
            "samples will not resemble. Grey bars are dimensions the model does not use."
        ).replace(". dashed", ". Dashed"),
        "reconstructions": (
            "Validation examples, what the decoder made of their codes, and where the two differ. "
            + (
                "Blur or lost detail is information that the code did not carry."
                if image
                else "A long way between the two is information that the code did not carry."
            )
        ),
        "samples": _samples(image, labelled),
        "history": (
            "One mark per trial, in the order they were asked. The line is the best figure so far: where it "
            "stays flat for long, more trials would have helped little."
        ),
        "rungs": (
            "Every trial's way through the rungs. If many lines cross after a rung, pruning there was a "
            "gamble; if they run side by side, it was safe."
        ),
        "importance": (
            "How far each setting of the best trials differs from that of all, pruned ones too. A small bar says that "
            "the range searched made no difference, not that the setting never matters."
        ),
        "latent_size": (
            "The figure of every finished trial by the number of latent dimensions. Look for where the lower "
            "line stops falling: more dimensions than that buy nothing."
        ),
        "map": (
            f"Left: where the encoder puts examples{', by class' if labelled else ''}; dashed circles hold 39 % and "
            "86 % of a standard normal prior. Right: what the decoder makes of the same plane, at points that are "
            f"equally likely under the prior. Find {'a class' if labelled else 'a group'} at the left and look up at "
            "the right what stands there; where no examples lie, what is decoded is a guess."
        ),
        "traversals": (
            "One latent dimension at a time moves from -2.5 to 2.5 standard deviations of the prior while the others "
            "stand at its mean. A dimension whose "
            f"{'row' if image else 'columns'} change in one nameable way means something; one that hardly changes "
            "anything is unused."
        ),
        "interpolations": (
            "From one validation example to another, along the straight line between their codes. Good latent "
            f"spaces pass through plausible examples; {'a blur' if image else 'values no example has'} halfway "
            f"{'means' if image else 'mean'} that the line leaves the places where examples lie."
        ),
        "architectures": (
            "Each model as bars, as tall as the logarithm of their widths: the example at the left, the latents z in "
            "the middle, the reconstruction at the right. Most parameters sit between the tallest neighbours."
        ),
        "rate_distortion": (
            "What the code costs (right: more) against what it misses (up: more), a dot for each seed. All points of a "
            "dashed line have the same negative ELBO: a model on a lower line is better, and where on the line it "
            "stands says whether it pays in code or in lost detail."
        ),
        "kl": (
            "How many nats each latent dimension carries, sorted, since dimensions have no order of their own. Where a "
            "line drops to zero, further dimensions are unused; the area below it is the rate."
        ),
        "data": (
            "The training examples before any model: their mean, how far pixels stray from it, how often each "
            f"intensity occurs{', and how many examples each class has' if labelled else ''}."
            if image
            else "The training examples before any model: the distribution of every column."
        ),
        "examples": (
            "Training examples, one row per class. Look for odd ones, mislabelled ones, and how much a class varies: "
            "that is what a model has to reconstruct."
            if labelled
            else "Training examples. Look for odd ones, and how much they vary: that is what has to be reconstructed."
        ),
        "correlations": (
            "How the columns of a table move together: orange for columns that rise together, blue for opposed ones. "
            "Strong blocks are what a few latent dimensions can carry."
        ),
    }


def comparison_captions(data: Mapping[str, Any]) -> dict[str, str]:
    """The same of a comparison, where a picture shows several models."""
    image, labelled = _kind(data)
    return captions(data) | {
        "losses": (
            "Loss by epoch of all models, lower is better: validation solid, training dashed, in bands that reach from "
            "the lowest to the highest seed. Bands that overlap at the end show no difference; a dashed line far "
            f"below its solid one means that the model memorises. {QUICK}"
        ),
        "reconstructions": (
            "What every model makes of the same validation examples. "
            if image
            else "By how much every model misses each column of the same validation examples. "
        )
        + "The figure beside a name is the root of the mean squared error of what is shown.",
        "samples": (
            "The same points of the prior decoded by every model, so each place shows one point. Decoded means are "
            "smoother than data: no pixel noise is added."
            if image
            else "The spread of every column in the data, and in what every model decodes from the same points of the "
            "prior. Decoded means spread less than data: no noise of p(x|z) is added."
        ),
        "latent": (
            f"Where the encoder puts examples{', by class' if labelled else ''}; dashed circles hold 39 % and 86 % of "
            "a standard normal prior. With two latent dimensions the decoder's picture of the same plane stands beside "
            "it, at points that are equally likely under the prior; with more, the two dimensions of highest KL and a "
            "principal component view."
        ),
    }


def _kind(data: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the examples are images, and whether they have labels; what is not known is taken for images."""
    shape = data.get("shape")
    return not isinstance(shape, list | tuple) or len(shape) >= 2, bool(data.get("classes"))


def _samples(image: bool, labelled: bool) -> str:
    by_class = "By class: drawn from a Gaussian around the codes of that class. " if labelled else ""
    prior = "From the prior: what the model holds for typical data. "
    good = "Good by class and bad from the prior means that the prior covers empty space. " if labelled else ""
    means = (
        "What is drawn is the decoder's mean, which is smoother than data."
        if image
        else "What is drawn is the decoder's mean, so spreads are narrower than those of the data."
    )
    return f"New examples. {by_class}{prior}{good}{means}"


# Pictures of a mixture on the latents of one model.
CLUSTER = {
    "pca": (
        "The latents in the plane of their two principal components: examples as dots in the colour of their true "
        "class, components as ellipses at two standard deviations in the colour of the class they answer with. What "
        "overlaps here may lie apart in other dimensions. An ellipse among dots of another colour answers wrongly."
    ),
    "components": (
        "One row per component, the heaviest first: its mean decoded, the training examples nearest to it, and draws "
        "from it. A row of one class in one style is a good component; a row of two classes is where errors come from."
    ),
    "class_samples": (
        "New examples of each class, decoded from draws of the components that answer with it. Another class in a row "
        "is a component that reaches into it."
    ),
    "confusion": (
        'True classes as rows, answers as columns, on the test split; the last column counts "unknown", answers with '
        "less than one label behind them. Orange squares are the mistakes to look at first."
    ),
    "coverage": (
        "Rejecting the least sure answers: accuracy among those that remain, against how many remain. A curve that "
        "stays flat and high up to the right says that the probabilities know where the errors are."
    ),
    "budget": (
        "Accuracy on the test split against the number of labels. All methods see the same draws. Where the mixture "
        "and the graph lie above the probe and the neighbours, the unlabelled examples are worth labels."
    ),
    "em": (
        "Left: the log-likelihood of the points at every iteration of EM, which may never fall. Right: BIC, lower is "
        "better, which weighs the fit against the number of parameters; it compares mixtures on this encoder alone."
    ),
}

ANOMALY = {
    "anomaly": (
        "Every score of the model's own test examples (blue) and of the strange ones (orange), further right for "
        "stranger. Where orange lies to the left of blue, the score calls strange examples the more usual ones: it is "
        "marked as failed, and is not turned round, since nobody knows beforehand which way to turn it."
    ),
}

CLASSIFIER = {
    "learning": (
        "Log-loss and accuracy after every epoch. Train figures are taken while the weights move, under dropout and "
        "augmentation, so they may lie below those of validation. Log-loss that turns up while accuracy stays says "
        "that the model grows too sure; the dot is the epoch that was kept."
    ),
    "reliability": (
        "How often an answer of a given probability is right. As trained, networks are often too sure: dots below the "
        "dashed line. One number, the temperature, is fitted on validation and divides the logits; no answer changes."
    ),
    "confusion": (
        "True classes as rows, answers as columns. Orange squares are the mistakes to look at first: pairs of classes "
        "that the model cannot tell apart."
    ),
    "mistakes": (
        "The wrong answers that the model was surest of. Look whether the label is right: a good model's surest "
        "mistakes are often mistakes of the labels."
    ),
}

INVERSE = {
    "calibration": (
        "Where the true x lies among posterior draws for its y, over validation pairs: of a right posterior every "
        "rank is as likely. A hump says that draws are too wide, a bowl that they are too narrow, a slope that they "
        "lie aside. Draws that were refined are solutions and are not judged so."
    ),
    "candidates": (
        "What the network proposes for some measurements, before any filter. Dashed: the x that was measured and "
        "its y. Curves far from the dashed x whose f(x) still lies on the dashed y are other causes of it."
    ),
    "ends": (
        "Each candidate as the points where its two lines begin and end, for the measurements with most solutions. A "
        "ring without a blue point in it is a solution that was not found; points between rings are misses."
    ),
    "race": (
        "How many of all solutions are found, and at which price. A curve further left and higher is better; where "
        "a method without a network meets the network's recall, its seconds are what training has to be paid back from."
    ),
    "refinement": (
        "How far f(x) is from y while candidates are refined. A band that stays above the gate is a share of "
        "candidates that began too far from any solution."
    ),
    "losses": (
        "The conditional bound by epoch, lower is better; right: its two parts. A rate near zero means collapse: the "
        "latents would no longer tell one solution from another."
    ),
}
