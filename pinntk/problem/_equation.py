"""A condition's equation, read from the source of its operator."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import math
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MappingProxyType
from typing import Any

from pinntk.problem._complex import ComplexPart
from pinntk.problem._conditions import Condition, ValueOf
from pinntk.problem._foreign import AnyCondition
from pinntk.problem._integral import Integral

# Of `from __future__ import ...`; the flag of nested_scopes is also that of any nested function.
_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names if name != "nested_scopes")
_MODULES = ("torch", "math", "np", "numpy", "F")  # torch.sin is written sin


def equation(condition: AnyCondition, given: Mapping[str, Any] = MappingProxyType({})) -> str:
    """What a condition asks for, as its operator is written; empty where that cannot be told from its source.

    given: numbers by name that stand elsewhere; all others that the operator takes from around it are named

    It cannot of other code's conditions, of operators with branches or loops, and where the file has changed since.

    >>> from pinntk import Box, residual
    >>> domain, nu = Box(t=(0, 1), x=(0, 1)), 0.1
    >>> @residual(domain)
    ... def burgers(u, u_t, u_x, u_xx):
    ...     flux = u * u_x
    ...     return u_t + flux - nu * u_xx
    >>> equation(burgers)
    'u_t + flux = nu * u_xx, flux = u * u_x, nu = 0.1'
    """
    operator = condition.operator if isinstance(condition, Condition) else None
    if isinstance(operator, ValueOf):
        return _balance(ast.Name(operator.argument), condition)
    if isinstance(operator, ComplexPart):
        whole = equation(operator.whole, given)
        return whole and f"{'real' if operator.part == 'real' else 'imaginary'} part of {whole}"
    if not isinstance(operator, FunctionType):
        return ""
    function = _written(operator)
    steps = None if function is None else _steps(function)
    if steps is None:
        return ""
    *before, result = [_Plain().visit(step) for step in steps]
    parts = [_balance(result.value, condition)]
    parts += [f"{ast.unparse(step.targets[0])} = {ast.unparse(step.value)}" for step in before]
    asked = {node.id for step in steps for node in ast.walk(step) if isinstance(node, ast.Name)}
    around = {name: value for name, value in _numbers(operator).items() if name in asked and given.get(name) != value}
    return ", ".join(parts + [f"{name} = {value:.6g}" for name, value in around.items()])


def _balance(error: ast.expr, condition: AnyCondition) -> str:
    """Two sides of an equation: a - b is a = b, all else is 0."""
    if condition.kind == "periodic":
        return f"{ast.unparse(error)} agrees at both ends"
    if isinstance(region := condition.region, Integral):
        target = "given values" if region.target is None else f"{region.target:.6g}"
        return f"{region.describe()} of {ast.unparse(error)} = {target}"
    if isinstance(error, ast.BinOp) and isinstance(error.op, ast.Sub):
        return f"{_term(error.left)} = {_term(error.right)}"
    return f"{_term(error)} = 0"


def _term(side: ast.expr) -> str:
    return f"({ast.unparse(side)})" if isinstance(side, (ast.IfExp, ast.Lambda, ast.Compare, ast.BoolOp)) else ast.unparse(side)


class _Plain(ast.NodeTransformer):
    """torch.sin(x) as sin(x)."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in _MODULES:
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)


def _steps(function: ast.FunctionDef | ast.Lambda) -> list[Any] | None:
    """Assignments and, last, what is returned; None for what has branches, loops or more than one way out."""
    if isinstance(function, ast.Lambda):
        return [ast.Return(function.body)]
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
        return None
    simple = all(isinstance(step, ast.Assign) and len(step.targets) == 1 for step in body[:-1])
    return list(body) if simple else None


def _written(operator: FunctionType) -> ast.FunctionDef | ast.Lambda | None:
    """The operator in its file, or in its notebook's cell; None where that no longer says what was run."""
    code = operator.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, operator.__globals__))
    try:
        tree = ast.parse(text)
        compiled = compile(text, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    if code not in _codes(compiled):
        return None
    kind = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef
    here = [node for node in ast.walk(tree) if isinstance(node, kind) and _first_line(node) == code.co_firstlineno]
    return here[0] if len(here) == 1 else None


def _first_line(node: Any) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _numbers(operator: FunctionType) -> dict[str, float]:
    """Plain numbers that it reads from around it."""
    around = inspect.getclosurevars(operator)
    found = {**around.globals, **around.nonlocals}
    return {name: value for name, value in found.items() if type(value) in (int, float) and value not in (math.pi, math.e)}
