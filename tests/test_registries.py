"""Registries: every name that may stand in a setting has its thing, every thing its name, and no other name passes."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

import vaelab
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.task import TASK as CLASSIFIER
from vaelab.cli.study import TASKS
from vaelab.engine.networks import ACTIVATIONS
from vaelab.engine.optimizers import RULES, SCHEDULES
from vaelab.errors import InputError
from vaelab.registry import Registry
from vaelab.regressor.spec import RegressorSpec
from vaelab.regressor.task import TASK as REGRESSOR
from vaelab.settings.spec import ModelSpec
from vaelab.vae import modules
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.priors import PRIORS
from vaelab.vae.spec import Spec
from vaelab.vae.task import TASK as VAE
from vaelab.vae.yardsticks import YARDSTICKS

LAZY = {"likelihood": LIKELIHOODS, "prior": PRIORS, "yardstick": YARDSTICKS, "task": TASKS}
BY_SETTING = {"optimizer": RULES, "schedule": SCHEDULES, "activation": ACTIVATIONS}


def choices(spec_type, name):
    return set(typing.get_args(spec_type.model_fields[name].annotation))


@pytest.mark.parametrize("kind", LAZY)
def test_every_entry_loads_and_no_other_name_does(kind):
    registry = LAZY[kind]
    for name in registry:
        assert registry[name] is registry[name]
    for unknown in ("", "poisson2", next(iter(registry)).upper()):
        with pytest.raises(InputError, match="unknown"):
            registry[unknown]


def test_a_home_that_is_not_there_raises_and_names_it():
    broken = Registry[object]("thing", {"a": "vaelab.errors:Missing", "b": "vaelab.missing:Thing"})
    with pytest.raises(AttributeError, match="Missing"):
        broken["a"]
    with pytest.raises(ModuleNotFoundError, match=r"vaelab\.missing"):
        broken["b"]


@pytest.mark.parametrize("name", BY_SETTING)
def test_settings_allow_what_is_registered_and_nothing_else(name):
    assert choices(ModelSpec, name) - {"auto"} == set(BY_SETTING[name])
    with pytest.raises(InputError, match=f"`{name}` must be"):
        Spec.create(**{name: "nothing"})


def test_likelihoods_and_priors_of_the_spec_are_those_registered():
    assert choices(Spec, "likelihood") == {"auto", *LIKELIHOODS}
    assert choices(Spec, "prior") == set(PRIORS)


def test_activations_have_a_module_and_a_place_in_the_page():
    assert set(modules.ACTIVATIONS) == set(ACTIVATIONS)
    script = (Path(vaelab.__file__).parent / "report" / "js" / "decoder.js").read_text()
    written = re.search(r"const ACTIVATIONS = \{(.*?)\n\};", script, re.DOTALL)
    assert written is not None
    assert set(re.findall(r"^  (\w+):", written[1], re.MULTILINE)) == set(ACTIVATIONS)


@pytest.mark.parametrize("task", [VAE, CLASSIFIER, REGRESSOR], ids=lambda task: task.name)
def test_a_yardstick_is_known_by_its_own_name(task):
    assert all(yardstick.name == name for name, yardstick in task.yardsticks.items())
    assert TASKS[task.name] is task


@pytest.mark.parametrize("spec_type", [Spec, ClassifierSpec, RegressorSpec])
def test_every_setting_is_shared_by_a_stack_unless_it_is_per_member(spec_type):
    """A new field changes the key by which members are put together, until somebody says that it need not."""
    assert spec_type.per_member <= set(spec_type.model_fields)
    everything = spec_type(network="conv", **({"prior": "mixture"} if spec_type is Spec else {}))
    shared = dict(everything.shared)
    assert set(shared) == set(spec_type.model_fields) - spec_type.per_member - set(everything.idle)


def test_no_package_hides_a_public_name() -> None:
    """Importing a package binds its name, in place of a function of the same name that is loaded on first use."""
    folder = Path(vaelab.__file__).parent
    packages = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert not packages & set(vaelab.__all__)
