"""The entry point: handles signals from its first instant, and turns every expected error into one line."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from vaelab import signals
from vaelab.errors import InputError

RULES = {
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number",
    "greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}",
}  # fmt: skip


def main() -> None:
    """Exit code 0 ok, 1 failure, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    signals.install()
    _open_closed()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    except Exception:
        if not signals.received():
            raise
        code = 130  # compiled code replaces what a handler raised by an error of its own
    sys.exit(signals.ended() or code)


def _open_closed() -> None:
    """Standard streams that are closed, as by `>&-`, lead nowhere: else the files opened next take their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the process ends


def _in_words(error: Any) -> str:
    """A usage error of Typer; of a value that is no number, or out of its range: option, rule and value."""
    cause, parameter = error.__cause__, getattr(error, "param", None)
    if parameter is not None and hasattr(cause, "errors"):
        fault = cause.errors()[0]
        rule = RULES.get(fault["type"])
        if rule is not None:
            name = max(parameter.opts, key=len)
            return f"{name} must be {rule.format(**fault.get('ctx', {}))}, but got {fault['input']!r}"
    others = _commands_with(error)
    if others:
        return f"{error.option_name} is no option of `vaelab {error.ctx.info_name}`, but of {', '.join(others)}"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return " ".join(message.split()).rstrip(".")


def _commands_with(error: Any) -> list[str]:
    """The other commands that have the option that a usage error does not know."""
    name, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if name is None or context is None or context.parent is None or not hasattr(error, "possibilities"):
        return []
    commands = context.parent.command.commands.items()
    return [other for other, command in commands if any(name in each.opts for each in command.params)]


def _run() -> int:
    """Run the command of the arguments; its exit code."""
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a backend that is not there would stop the import
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of columns in a terminal that has no signs for them
    import typer

    from vaelab.cli.app import app
    from vaelab.cli.options import tell
    from vaelab.origin import carrying_out, of_arguments

    try:
        with carrying_out(of_arguments(sys.argv[1:])):
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
        sys.stdout.flush()
        return int(code)
    except InputError as error:
        tell(f"vaelab: {error}")
        return 2
    except typer.TyperException as error:  # a usage error; its message spans several lines
        tell(f"vaelab: {_in_words(error)}; see --help.")
        return 2
    except BrokenPipeError:  # whoever read the output has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from vaelab.store import in_words

        reason, remedy = in_words(error)
        tell(f"vaelab: {f'{error.filename}: ' if error.filename else ''}{reason}; {remedy}.")
        return 2
    except MemoryError as error:
        tell(f"vaelab: not enough memory ({str(error) or 'no amount told'}); ask for fewer rows, samples or workers.")
        return 2
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # PyTorch's word for it
            tell("vaelab: not enough memory; ask for fewer rows, samples or workers, or a smaller `batch_size`.")
            return 2
        if type(error).__module__.startswith("vaelab"):
            tell(f"vaelab: {error}")
            return 1
        raise
