"""How to read each picture: one caption for every name a figure can have."""

CAPTIONS = {
    "losses": (
        "Loss by epoch. Left: the whole price of an example, lower is better. If validation turns up "
        "while train falls on, the model memorises. Right: its two parts. A rate near zero means that the "
        "latents are unused."
    ),
    "latent": (
        "Where the encoder puts examples. Islands of one colour mean that the code knows the "
        "class without having been told; dashed circles hold 39 % and 86 % of a standard normal prior, and points far "
        "outside are examples that samples will not resemble. Grey bars are dimensions the model does not "
        "use."
    ),
    "reconstructions": (
        "Validation examples, what the decoder made of their codes, and where the two differ. Blur or "
        "lost detail is information that the code did not carry."
    ),
    "samples": (
        "New examples. By class: drawn from a Gaussian around the codes of that class. From the prior: "
        "what the model holds for typical data. Good by class and bad from the prior means that the prior "
        "covers empty space."
    ),
    "history": (
        "One mark per trial, in the order they were asked. The line is the best figure so far: where it "
        "stays flat for long, more trials would have helped little."
    ),
    "rungs": (
        "Every trial's way through the rungs. If many lines cross after a rung, pruning there was a "
        "gamble; if they run side by side, it was safe."
    ),
    "importance": (
        "How much of the variation between trials each setting explains. A small bar says that the range "
        "searched made no difference, not that the setting never matters."
    ),
    "latent_size": (
        "The figure of every finished trial by the number of latent dimensions. Look for where the lower "
        "line stops falling: more dimensions than that buy nothing."
    ),
    "map": (
        "Left: where the encoder puts examples, by class; dashed circles hold 39 % and 86 % of the prior. Right: what "
        "the decoder makes of the same plane, at points that are equally likely under the prior. Find a class at "
        "the left and look up at the right what stands there; where no examples lie, pictures are guesses."
    ),
    "traversals": (
        "One latent dimension at a time moves from -2.5 to 2.5 standard deviations of the prior while the others "
        "stand at its mean. A row that "
        "changes in one nameable way is a dimension that means something; a row that hardly changes is unused."
    ),
    "interpolations": (
        "From one validation example to another, along the straight line between their codes. Good latent "
        "spaces pass through plausible examples; a blur halfway means that the line leaves the places where examples "
        "lie."
    ),
    "architectures": (
        "Each model as bars, as tall as the logarithm of their widths: the example at the left, the latents z in the "
        "middle, the reconstruction at the right. Most parameters sit between the tallest neighbours."
    ),
    "rate_distortion": (
        "What the code costs (right: more) against what it misses (up: more), a dot for each seed. All points of a "
        "dashed line have the same negative ELBO: a model on a lower line is better, and where on the line it stands "
        "says whether it pays in code or in blur."
    ),
    "kl": (
        "How many nats each latent dimension carries, sorted, since dimensions have no order of their own. Where a "
        "line drops to zero, further dimensions are unused; the area below it is the rate."
    ),
    "data": (
        "The training examples before any model. Images: their mean, how far pixels stray from it, how often each "
        "intensity occurs, and how many examples each class has. Tables: the distribution of every column."
    ),
    "examples": (
        "Training examples, one row per class. Look for odd ones, mislabelled ones, and how much a class varies: that "
        "is what a model has to reconstruct."
    ),
    "correlations": (
        "How the columns of a table move together: orange for columns that rise together, blue for opposed ones. "
        "Strong blocks are what a few latent dimensions can carry."
    ),
}

# Pictures of several models that share their name with one of a single model.
COMPARISON = {
    "losses": (
        "Loss by epoch of all models, lower is better: validation solid, training dashed, in bands that reach from "
        "the lowest to the highest seed. Bands that overlap at the end show no difference; a dashed line far "
        "below its solid one means that the model memorises."
    ),
    "reconstructions": (
        "What every model makes of the same validation examples (of a table: by how much it misses each column). The "
        "figure beside a name is the root of the mean squared error of what is shown."
    ),
    "samples": (
        "The same points of the prior decoded by every model, so each place shows one point (of a table: the spread "
        "of every column in the data and in what is decoded). Decoded means are smoother than data: no "
        "pixel noise is added, and spreads are narrower."
    ),
    "latent": (
        "Where the encoder puts examples, by class; dashed circles hold 39 % and 86 % of a standard normal prior. With "
        "two latent dimensions the decoder's picture of the same plane stands beside it, at points that are equally "
        "likely under the prior; with more, the two dimensions of highest KL and a principal component view."
    ),
}
