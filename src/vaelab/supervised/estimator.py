"""What the scikit-learn estimators of classifiers and regressors share."""

from __future__ import annotations

from typing import Any

from vaelab.data.scikit import TYPES_DOC
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.settings.spec import settings_table
from vaelab.supervised.feed import SupervisedFeed
from vaelab.supervised.learning import Supervised
from vaelab.supervised.spec import SupervisedSpec


def parameters_doc(spec_type: type[SupervisedSpec]) -> str:
    """The parameters of an estimator, as its docstring lists them."""
    lines = []
    for name, _, allowed, meaning in settings_table(spec_type):
        lines += [f"    {name} : {allowed}, default={spec_type.model_fields[name].default!r}", f"        {meaning}."]
    return "\n".join([*lines, TYPES_DOC])


def trained(spec: SupervisedSpec, feed: SupervisedFeed, method: Supervised) -> tuple[Any, list[dict[str, Any]]]:
    """A stack of one member, trained to its end, and a record per epoch."""
    stack: Any = Stack([spec], feed, method=method)
    history = []
    for (record,) in epochs(stack):
        if stack.failures[0] is not None:
            raise InputError(f"training failed: {stack.failures[0]}; lower `lr` or rescale X.")
        history.append(record.as_dict())
        if stack.has_stalled(0):
            break
    return stack, history
