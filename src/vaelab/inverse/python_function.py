"""A forward function in a Python file, run only because the user names it; no file that is loaded can name one."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.nn import Module

from vaelab.errors import InputError, shown
from vaelab.inverse.forward import Function


def given(forward: Sequence[str] | None) -> Function | list[str]:
    """The forward function as typed: expressions, or FILE.py:NAME, whose file is run; raises InputError."""
    texts = list(forward or ())
    if not any(".py:" in text for text in texts):
        return texts
    if len(texts) > 1:
        raise InputError("a Python function gives all outputs; give `forward` once, FILE.py:NAME, without expressions.")
    return function_of(texts[0])


def function_of(named: str) -> Function:
    """The function of "FILE.py:NAME". Runs the file; it may import others of its folder, and so may the function.

    Raises InputError where there is no such file or function, or the file fails.
    """
    file, _, name = named.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not name.isidentifier():
        raise InputError(
            f"a Python function is named as FILE.py:NAME, such as beam.py:deflection, but got {shown(named)}."
        )
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path.")
    spec = importlib.util.spec_from_file_location(f"forward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import would: dataclasses look themselves up there
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} failed: {type(error).__name__}: {reason[:160]}; run it with python to see where."
        ) from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{path} has no function {name!r}; it has {', '.join(known) or 'none'}.")
    return found if isinstance(found, Module) else _beside(found, str(path.parent.resolve()))  # a module is copied


def _beside(function: Function, folder: str) -> Function:
    """The function, in which the files of a folder can be imported: where nothing else has their names, so that they
    take the place of no module that others import meanwhile.
    """

    def called(x: Any) -> Any:
        if folder in sys.path:
            return function(x)
        sys.path.append(folder)
        try:
            return function(x)
        finally:
            with contextlib.suppress(ValueError):  # the function may have removed it
                sys.path.remove(folder)

    return called
