"""The resolved configuration of an inversion, stored in config.toml, from which it can be rerun."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, shown, unknown_name
from vaelab.inverse import files
from vaelab.inverse.fitted import MOST_STEPS
from vaelab.inverse.forward import Function
from vaelab.inverse.problems import Problem
from vaelab.inverse.solutions import REFINE, WALK
from vaelab.inverse.spec import DEFAULTS, spec_of
from vaelab.inverse.yardsticks import YARDSTICKS
from vaelab.settings.checks import MOST_TRIALS, choice, flag, seed, table, whole
from vaelab.settings.space import Space, check_disjoint
from vaelab.settings.spec import written
from vaelab.vae.spec import Spec

SPACE: dict[str, Any] = {
    "lr": (5e-4, 5e-3, "log"), "beta": (0.3, 3.0, "log"), "latent_dim": (2, 8), "hidden": ["256-256", "512-512"],
    "wy": (0.0, 1.0),
}  # fmt: skip
REFUSED = (
    "likelihood", "binarize", "samples", "sigma", "threshold", "device", "seed", "engine", "precision", "prior",
)  # fmt: skip
MOST_SAMPLES = 1_000_000  # candidates of one measurement


@dataclasses.dataclass(frozen=True)
class InversionConfig:
    """The options of an inversion; equal options on equal problems give equal models. No trials: empty `space`."""

    settings: Mapping[str, Any]
    space: Space
    trials: int = 0
    yardstick: str = "recall"
    samples: int = 30
    refine: int = REFINE
    walk: int = WALK
    seed: int = 0
    spectrum: bool | None = None
    baselines: bool = True
    flow: bool = True
    npe: bool = False

    @classmethod
    def create(
        cls,
        problem: Problem,
        settings: Mapping[str, Any],
        space: Space | Mapping[str, Any] | None = None,
        yardstick: str | None = None,
        **options: Any,
    ) -> InversionConfig:
        """Options with the search space and yardstick resolved from the problem."""
        if not isinstance(problem, Problem):
            raise InputError(f"`problem` must be what `vaelab.inverse.problems` returns, but got {shown(problem)}.")
        if yardstick is not None:
            choice("yardstick", yardstick, YARDSTICKS)
        config = cls(
            {"seed": options.get("seed", 0), **settings},
            Space((), Spec),
            yardstick=yardstick or ("recall" if problem.family else "precision" if problem.has_forward else "bound"),
            **options,
        )
        whole("trials", config.trials, 0, MOST_TRIALS)
        if space is not None and not config.trials:
            raise InputError(f"a search needs at least one trial, but `trials` is {config.trials}; give 20.")
        if config.trials:
            chosen = _default_space(problem, config.settings) if space is None else Space.parse(space, Spec)
            if not len(chosen):
                raise InputError("every setting is fixed, so there is nothing to search; leave out `trials`.")
            config = dataclasses.replace(config, space=chosen)
        config.check(problem)
        return config

    def check(self, problem: Problem) -> None:
        """Before training, reject options that would fail or give incomparable results."""
        whole("samples", self.samples, 1, MOST_SAMPLES)
        for name in ("refine", "walk"):
            whole(name, getattr(self, name), 0, MOST_STEPS)
        whole("trials", self.trials, 0, MOST_TRIALS)
        seed("seed", self.seed)
        for name in ("baselines", "flow", "npe"):
            flag(name, getattr(self, name))
        if self.spectrum is not None:
            flag("spectrum", self.spectrum)
        spec_of(problem, self.settings)
        if self.yardstick not in YARDSTICKS:
            raise unknown_name("yardstick", str(self.yardstick), YARDSTICKS)
        if not self.trials:
            return
        if self.yardstick == "recall" and problem.family is None:
            raise InputError(
                "`recall` needs a problem whose solutions are all known; use the yardstick precision or bound."
            )
        for name in REFUSED:
            if name in self.space:
                raise InputError(
                    f"`{name}` cannot be searched: results under different values are not comparable; fix it."
                )
        if not problem.has_forward and self.yardstick != "bound":
            raise InputError(
                f"`{self.yardstick}` needs the forward function; use the yardstick bound, or give `forward`."
            )
        if "wy" in self.space and not problem.is_differentiable:
            raise InputError(
                "`wy` cannot be searched: this forward function has no gradient; remove it from the space."
            )
        check_disjoint({name: value for name, value in self.settings.items() if name != "seed"}, self.space)

    @property
    def epochs(self) -> int:
        """The most epochs of a training."""
        return int(self.settings.get("epochs", DEFAULTS["epochs"]))

    def save(self, folder: Path, problem: Problem) -> None:
        """Write config.toml, with the problem and a fingerprint of its examples."""
        options = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("settings", "space")
        }
        source = {"source": {k: v for k, v in problem.source.items() if v is not None}} if problem.source else {}
        written_table = {
            "invert": {k: v for k, v in options.items() if v is not None},
            "problem": {"name": problem.name, "fingerprint": problem.fingerprint, **source},
            "settings": {k: written(k, v) if isinstance(v, tuple) else v for k, v in self.settings.items()},
            "space": self.space.to_json(),
        }
        store.write_atomic(folder / "config.toml", tomli_w.dumps(written_table))

    @classmethod
    def read(
        cls, path: Path, problem: Problem | None = None, forward: Function | None = None
    ) -> tuple[InversionConfig, Problem]:
        """The options of a config.toml and its problem; what came from Python must be given again: the problem, or
        only its forward function.
        """
        found = store.read_toml(path, "no inversion was started there")
        options, about, settings, space = (
            table(f"[{name}] of {path}", found.get(name, {})) for name in ("invert", "problem", "settings", "space")
        )
        known = {f.name for f in dataclasses.fields(cls)} - {"settings", "space"}
        for name in options:
            if name not in known:
                raise unknown_name("key of [invert]", name, known)
        if problem is None:
            if "source" not in about:
                raise InputError(f"the problem of {path} came from Python and is not stored; give it as `problem`.")
            problem = files.load_again(table(f"[problem.source] of {path}", about["source"]), forward)
        if problem.fingerprint != about.get("fingerprint"):
            raise InputError(f"{path} was made from other examples than those of {problem.name!r}; start a new run.")
        config = cls(settings, Space.parse(space, Spec) if space else Space((), Spec), **options)
        config.check(problem)
        return config, problem


def _default_space(problem: Problem, settings: Mapping[str, Any]) -> Space:
    """SPACE without fixed settings, and without wy if the forward function has no gradient."""
    dropped = [*settings] + ([] if problem.is_differentiable else ["wy"])
    return Space.parse(SPACE, Spec).without(dropped)
