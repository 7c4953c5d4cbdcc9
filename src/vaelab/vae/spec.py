"""All hyperparameters of one VAE. Imports neither torch nor sklearn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from vaelab.settings.spec import (
    BLOCKS_MEANING,
    CHANNELS_MEANING,
    KERNEL_MEANING,
    MOST_EPOCHS,
    Blocks,
    Channels,
    Kernel,
    ModelSpec,
    written,
)
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.priors import PRIORS
from vaelab.wording import counted

FEW_ROWS = 1_000  # for training, below which a mixture prior starts from no autoencoder and is diagonal

Binarize = Literal["none", "fixed", "dynamic"]
if TYPE_CHECKING:
    LikelihoodName: TypeAlias = str
    PriorName: TypeAlias = str
else:  # registered names, unknown to a type checker
    LikelihoodName = Literal["auto", *LIKELIHOODS]
    PriorName = Literal[*PRIORS]


class Spec(ModelSpec):
    """All hyperparameters of one VAE, frozen and validated.

    >>> Spec(latent_dim=2, hidden="64-32").hidden_sizes
    (64, 32)
    >>> Spec(layers=3, width=256, taper=0.5).hidden_sizes
    (256, 128, 64)
    """

    per_member: ClassVar = ModelSpec.per_member | {
        "latent_dim", "layers", "width", "taper", "dropout", "beta", "wx", "wy", "warmup", "free_bits",
    }  # fmt: skip
    under_hidden: ClassVar = ("layers", "width", "taper")
    of_inversion: ClassVar = ("wx", "wy")

    latent_dim: Annotated[int, Field(ge=1, le=4096)] = Field(16, description="number of latent dimensions")
    layers: Annotated[int, Field(ge=0, le=16)] = Field(
        2, description="hidden layers of the encoder; mirrored in the decoder"
    )
    width: Annotated[int, Field(ge=1, le=16384)] = Field(256, description="units of the first hidden layer")
    taper: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="width of a hidden layer as a share of the previous one"
    )
    # Narrow, deep, wide kernels: the lowest neg_elbo of those tried at equal time (benchmarks/README.md).
    channels: Channels = Field((16, 32), description=CHANNELS_MEANING)
    blocks: Blocks = Field(1, description=BLOCKS_MEANING)
    kernel: Kernel = Field(5, description=KERNEL_MEANING)
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="dropout rate of hidden units")
    likelihood: LikelihoodName = Field("auto", description="p(x|z); auto chooses by the data's type and range")
    real_likelihood: Literal["gaussian", "laplace", "huber", "student"] = Field(
        "gaussian", description="mixed likelihood: of real columns, and of the logarithms of positive ones"
    )
    count_likelihood: Literal["negative_binomial", "poisson", "zero_inflated"] = Field(
        "negative_binomial", description="mixed likelihood: of counts; zero_inflated adds zeros to a negative binomial"
    )
    size_factor: Literal["auto", "total", "none"] = Field(
        "auto",
        description="mixed likelihood: compare counts with the total of their row (auto: from 20 columns on, if most "
        "columns are counts)",
    )
    sigma: Literal["auto", "shared", "feature"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="scale of a density: a number, or learned: shared or per feature (auto: images share)",
    )
    threshold: Annotated[float, Field(gt=0)] = Field(1.0, description="Huber threshold, in units of the scale")
    binarize: Binarize = Field("none", description="draw pixels as 0 or 1: once per example, or again at every visit")
    prior: PriorName = Field("normal", description="p(z): standard normal, a learned Gaussian mixture, or a VampPrior")
    components: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="Gaussians of a mixture prior; pseudo-inputs of a VampPrior"
    )
    covariance: Literal["auto", "full", "diag"] = Field(
        "auto",
        description=f"covariances of a mixture prior (auto: full, but diag below {FEW_ROWS:,} training rows)",
    )
    pretrain: Literal["auto"] | Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = Field(
        "auto",
        description="initial epochs as an autoencoder, before the mixture is fitted "
        f"(auto: a third, but none below {FEW_ROWS:,} training rows)",
    )
    beta: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the rate in the training loss")
    wx: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the distortion; inverse problems only")
    wy: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the misfit of f(x) in the training loss; inverse problems only"
    )
    warmup: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = Field(
        0, description="epochs over which beta rises linearly from 0"
    )
    free_bits: Annotated[float, Field(ge=0)] = Field(
        0.0, description="free bits: nats per latent dimension that the loss does not penalize"
    )
    samples: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="importance samples per example in training")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.samples > 1 and self.free_bits > 0:
            raise ValueError("`free_bits` needs `samples` = 1: the importance-weighted bound has no KL term to relax")
        if self.prior != "normal" and self.free_bits > 0:
            raise ValueError("`free_bits` needs the normal prior: a mixture's rate is not a sum over latent dimensions")
        if self.prior != "mixture" and self.pretrain not in ("auto", 0):
            raise ValueError(f"`pretrain` needs the mixture prior, but got {self.pretrain} with prior {self.prior!r}")
        if self.prior == "vamp" and self.norm == "batch":
            raise ValueError("the VampPrior needs `norm` none or group: its pseudo-inputs are not a batch of the data")
        if self.epochs != "auto" and self.pretrain_epochs >= self.epochs:
            raise ValueError(f"`pretrain` must be less than `epochs`, but got {self.pretrain} of {self.epochs}")
        if self.binarize != "none" and self.likelihood not in ("auto", "bernoulli"):
            raise ValueError(f"`binarize` needs the Bernoulli likelihood, but likelihood is {self.likelihood!r}")
        return self

    @property
    def fuses(self) -> bool:
        """Also a standard normal prior, and one draw per example."""
        return super().fuses and self.prior == "normal" and self.samples == 1

    @property
    def idle(self) -> tuple[str, ...]:
        """Also the settings of another prior or likelihood, and of hidden layers, if there are none.

        >>> Spec(network="conv", layers=0).idle
        ('components', 'covariance', 'pretrain', 'width', 'taper', 'dropout')
        >>> Spec(likelihood="bernoulli", hidden="8").idle[7:]
        ('components', 'covariance', 'pretrain', 'real_likelihood', 'count_likelihood', 'size_factor', 'threshold')
        """
        of_prior = ("components", "covariance", "pretrain")
        other_prior = {"normal": of_prior, "vamp": of_prior[1:]}.get(self.prior, ())
        of_columns = ("real_likelihood", "count_likelihood", "size_factor")
        other_likelihood = () if self.likelihood in ("auto", "mixed") else of_columns
        of_reals = self.real_likelihood if self.likelihood == "mixed" else self.likelihood
        threshold = () if of_reals in ("auto", "huber") else ("threshold",)
        layers = () if self.hidden_sizes else ("width", "taper", "dropout")
        return super().idle + other_prior + other_likelihood + threshold + layers

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers, in order; the decoder mirrors them."""
        if self.hidden is not None:
            return self.hidden
        return tuple(max(1, round(self.width * self.taper**i)) for i in range(self.layers))

    @property
    def layers_text(self) -> str:
        """A short description of the encoder's layers.

        >>> Spec(hidden="64").layers_text, Spec(network="conv", hidden="none").layers_text
        ('64', 'conv 16-32, 1 block each')
        """
        hidden = "-".join(map(str, self.hidden_sizes))
        if self.network == "mlp":
            return hidden or "linear"
        blocks = f", {counted(self.blocks, 'block')} each" if self.blocks else ""
        return f"conv {written('channels', self.channels)}{blocks}" + (f", {hidden}" if hidden else "")

    @property
    def pretrain_epochs(self) -> int:
        """Epochs that train an autoencoder: z is the mean and the rate has weight 0."""
        if self.prior != "mixture":
            return 0
        return int(self.epochs) // 3 if self.pretrain == "auto" else self.pretrain

    @property
    def ramp(self) -> int:
        """Epochs as an autoencoder, plus those over which beta rises."""
        return self.pretrain_epochs + self.warmup
