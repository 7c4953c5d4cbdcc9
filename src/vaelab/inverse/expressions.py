"""Forward functions as text: arithmetic over x0, x1, ... with an allow list. No torch until one is evaluated."""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaelab.errors import InputError, shown

if TYPE_CHECKING:
    from torch import Tensor

# Functions with their number of arguments; min and max take two or more. Named as in torch, except for SPELLED.
FUNCTIONS: dict[str, int] = {
    **dict.fromkeys((
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "arcsin",
        "arccos", "arctan", "exp", "exp2", "expm1", "log", "ln", "log2", "log10", "log1p", "sqrt", "square", "abs",
        "sign", "floor", "ceil", "round", "trunc", "sigmoid", "erf", "erfc", "sinc", "radians", "degrees",
    ), 1),
    **dict.fromkeys(("atan2", "arctan2", "hypot", "pow", "mod", "min", "max"), 2),
    **dict.fromkeys(("where", "clip"), 3),
}  # fmt: skip
SPELLED = {
    "ln": "log", "mod": "remainder", "min": "minimum", "max": "maximum", "radians": "deg2rad", "degrees": "rad2deg",
}  # fmt: skip
NUMBERS = ("no arguments", "one argument", "two arguments", "three arguments")
COMPARISONS: dict[type, str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.Mod: "remainder",
    ast.USub: "neg", ast.UAdd: "pos",
}  # fmt: skip
LONGEST, DEEPEST = 1000, 50  # limits: characters and nesting levels of an expression


class Expression:
    """One checked expression of the inputs, such as cos(49*x0 + 42*x1).

    Allowed are numbers, x0 to x<inputs - 1>, pi, e, + - * / % **, brackets, the functions in FUNCTIONS, and comparisons
    such as x0 > 1, which are 1 or 0. Raises InputError that names what is not allowed and its position.

    >>> import torch
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> Expression("x0 * x1 + 1", inputs=2)([x[:, 0], 3 * x[:, 0]])
    tensor([ 4., 13.])
    >>> Expression("x0 + __import__('os')", inputs=1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vaelab.errors.InputError: `__import__` is not allowed at character 6 of "x0 + __import__('os')"; use x0, pi, ...
    """

    def __init__(self, text: str, inputs: int):
        self.text, self.inputs = text.strip(), inputs
        if not self.text or len(self.text) > LONGEST:
            raise InputError(f"a forward expression has 1 to {LONGEST} characters, but got {len(self.text)}.")
        try:
            tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            where = f" at character {error.offset}" if error.offset else ""
            reason = error.msg.splitlines()[0] if error.msg else "bad syntax"
            raise InputError(f"{shown(self.text)} is not an expression: {reason}{where}.") from None
        except (ValueError, RecursionError, MemoryError):
            raise InputError(f"{shown(self.text)} is not an expression; write it as cos(49*x0 + 42*x1).") from None
        self._tree = tree.body
        self._check(self._tree, 0)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """The value for inputs of one shape (...); a constant is broadcast to that shape."""
        import torch

        return torch.broadcast_to(self._value(self._tree, inputs), inputs[0].shape)

    def _value(self, node: ast.expr, inputs: Sequence[Tensor]) -> Tensor:
        import torch

        if isinstance(node, ast.Name) and node.id not in CONSTANTS:
            return inputs[int(node.id[1:])]
        if isinstance(node, ast.Constant | ast.Name):
            value = CONSTANTS[node.id] if isinstance(node, ast.Name) else node.value
            assert isinstance(value, int | float)
            return torch.tensor(float(value), dtype=inputs[0].dtype, device=inputs[0].device)
        if isinstance(node, ast.UnaryOp):
            operand = self._value(node.operand, inputs)
            return -operand if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            name = node.func.id
            if name == "where":
                return self._chosen(node.args, inputs)
            function = getattr(torch, SPELLED.get(name, name))
            arguments = [self._value(argument, inputs) for argument in node.args]
            applied: Tensor = functools.reduce(function, arguments) if name in ("min", "max") else function(*arguments)
            return applied
        if isinstance(node, ast.Compare):
            left, right = self._value(node.left, inputs), self._value(node.comparators[0], inputs)
            compared: Tensor = getattr(torch, COMPARISONS[type(node.ops[0])])(left, right)
            return compared.to(inputs[0].dtype)
        assert isinstance(node, ast.BinOp)
        combined: Tensor = getattr(torch, OPERATORS[type(node.op)])(
            self._value(node.left, inputs), self._value(node.right, inputs)
        )
        return combined

    def _chosen(self, arguments: Sequence[ast.expr], inputs: Sequence[Tensor]) -> Tensor:
        """where(condition, a, b): a where the condition is not 0, else b.

        Each is given inputs that carry a derivative only where it is chosen: elsewhere its own may be infinite or NaN,
        as of sqrt(x0) for x0 <= 0, and reverse mode multiplies it by 0.
        """
        import torch

        condition = self._value(arguments[0], inputs) != 0
        a, b = (
            self._value(branch, [torch.where(own, x, x.detach()) for x in inputs])
            for branch, own in ((arguments[1], condition), (arguments[2], ~condition))
        )
        return torch.where(condition, a, b)

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth > DEEPEST:
            raise InputError(f"{shown(self.text)} is nested more than {DEEPEST} levels deep; write it in parts.")
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            self._check(node.left, depth + 1)
            self._check(node.right, depth + 1)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            self._check(node.operand, depth + 1)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            name, wanted = node.func.id, FUNCTIONS[node.func.id]
            several = name in ("min", "max")
            right = len(node.args) >= wanted if several else len(node.args) == wanted
            if not right or node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
                self._refuse(node, f"`{name}` takes {NUMBERS[wanted]}{' or more' if several else ''}")
            for argument in node.args:
                self._check(argument, depth + 1)
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            if len(node.ops) > 1:
                self._refuse(node, "compare two values at a time, such as (0 < x0) * (x0 < 1)")
            self._check(node.left, depth + 1)
            self._check(node.comparators[0], depth + 1)
        elif isinstance(node, ast.Name) and (node.id in CONSTANTS or self._is_input(node.id)):
            pass
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            assert isinstance(node.value, int | float)
            try:
                finite = math.isfinite(float(node.value))
            except OverflowError:
                finite = False
            if not finite:
                self._refuse(node, "a number must be finite")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            self._refuse(node, "`^` is not a power here, write **")
        elif isinstance(node, ast.IfExp | ast.BoolOp):
            part = ast.get_source_segment(self.text, node)
            instead = "where(x0 > 0, x0, 1)" if isinstance(node, ast.IfExp) else "(x0 > 0) * (x1 > 0)"
            self._refuse(node, f"`{part}` is not allowed, write it like {instead},")
        else:
            culprit = node.func if isinstance(node, ast.Call) else node
            part = ast.get_source_segment(self.text, culprit) or type(node).__name__
            self._refuse(culprit, f"`{part}` is not allowed")

    def _is_input(self, name: str) -> bool:
        return re.fullmatch(r"x(0|[1-9]\d{0,3})", name) is not None and int(name[1:]) < self.inputs

    def _refuse(self, node: ast.expr, rule: str) -> None:
        place = len(self.text.encode()[: node.col_offset].decode()) + 1  # ast counts bytes
        names = "x0" if self.inputs == 1 else f"x0 to x{self.inputs - 1}"
        raise InputError(
            f"{rule} at character {place} of {shown(self.text)}; use {names}, pi, e, numbers, + - * / % ** < > and "
            f"{', '.join(FUNCTIONS)}."
        )


class Forward:
    """y = f(x) with one expression per output: x (n, inputs, ...) -> y (n, outputs, ...), or (n, ...) for one output.

    >>> import torch
    >>> Forward(["x0 + x1", "x0 * x1"], inputs=2)(torch.tensor([[2.0, 3.0]]))
    tensor([[5., 6.]])
    """

    def __init__(self, texts: Sequence[str], inputs: int):
        if not texts:
            raise InputError("a forward function needs at least one expression, such as 'x0 * x1'.")
        self.expressions = tuple(Expression(text, inputs) for text in texts)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(expression.text for expression in self.expressions)

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        inputs = x.unbind(1)
        if len(self.expressions) == 1:
            return self.expressions[0](inputs)
        return torch.stack([expression(inputs) for expression in self.expressions], 1)

    def __repr__(self) -> str:
        return f"Forward({list(self.texts)!r})"
