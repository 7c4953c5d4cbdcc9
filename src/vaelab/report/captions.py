"""How to read each picture: one caption for every name a figure can have."""

CAPTIONS = {
    "losses": (
        "Loss by epoch. Left: the whole price of an example, lower is better. If validation turns up "
        "while train falls on, the model memorises. Right: its two parts. A rate near zero means that the "
        "latents are unused."
    ),
    "latent": (
        "Where the encoder puts examples. Islands of one colour mean that the code knows the "
        "class without having been told; dashed circles hold 39 % and 86 % of the prior, and points far "
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
}
