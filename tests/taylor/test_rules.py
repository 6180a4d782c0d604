"""Every rule of the Taylor engine's table, with all its arguments: the derivatives by jets are those of nested reverse-mode
autograd (with exact normalizations), or the operation is refused by name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from functools import cache, partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import get_testing_overrides

from pinntk.taylor import Basis, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._jet import RULES
from pinntk.taylor._normalizations import ExactNormalizations
from pinntk.taylor._rules import _NATIVE
from tests.support.rule_cases import START, Case, at, tensor
from tests.support.rule_cases_features import CASES
from tests.support.rule_idioms import IDIOMS

TOLERANCE = 1e-10
INDICES = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (4, 0)]
SPACES = {"torch": torch, "Tensor": Tensor, "F": F, "special": torch.special, "linalg": torch.linalg}


def as_method(name: str):
    def call(first, *args, **kwargs):
        if not isinstance(first, (Tensor, Jet)):
            raise TypeError(f"{type(first).__name__} has no method {name}")
        method = getattr(first, name, None) or partial(getattr(Tensor, name), first)
        return method(*args, **kwargs)

    return call


def has_rule(found) -> bool:
    try:
        return found in RULES
    except TypeError:  # a namespace holds more than functions, and some of it has no hash
        return False


def spellings() -> dict[str, tuple]:
    """{"Tensor.sin": ("sin", Tensor.sin, how to call it)}, and so on: where torch keeps the functions of the table."""
    found = {}
    for space, module in SPACES.items():
        for name in dir(module):
            function = getattr(module, name)
            if has_rule(function):
                found[f"{space}.{name}"] = (name, function, as_method(name) if module is Tensor else function)
    return found


SPELLINGS = spellings()


def tensors(output) -> list[Tensor | Jet]:
    return list(output) if isinstance(output, (tuple, list)) else [output]


def projected(part: Tensor) -> Tensor:
    """One number a point, by which every entry shows."""
    rows = part.reshape(part.shape[0] if part.ndim else 1, -1)
    return (rows * tensor(*rows.shape, seed=7)).sum(1)


def nested(function, values: str = "any") -> list[dict[tuple[int, int], Tensor]]:
    """For each output of `function` the derivatives of its projection, by nested reverse mode, and the slopes of the lower
    ones and of all as the features are shifted: what training follows."""
    columns = [column.clone().requires_grad_() for column in START.unbind(1)]
    shift = torch.zeros_like(at(START)).requires_grad_()
    with ExactNormalizations():
        output = function(at(torch.stack(columns, 1), values) + shift)
    found = []
    for part in tensors(output):
        known = {(0, 0): projected(part.double())}
        for index in INDICES[1:]:
            axis = 1 if index[1] else 0
            below = known[tuple(times - (i == axis) for i, times in enumerate(index))]
            slope = None
            if below.requires_grad:
                (slope,) = torch.autograd.grad(below.sum(), columns[axis], create_graph=True, allow_unused=True)
            known[index] = torch.zeros_like(columns[axis]) if slope is None else slope
        slopes = {name: slope_by(shift, [known[index] for index in indices]) for name, indices in TRAINED.items()}
        found.append({index: value.detach() for index, value in known.items()} | slopes)
    return found


WHOLE, LOW, VALUE, LAPLACIAN = (
    *(Basis.spanning(INDICES, 2), Basis.spanning(INDICES[:6], 2), Basis.spanning([], 2), Basis.spanning([], 2, (0, 1))),
)


@cache
def components(basis: Basis, values: str) -> Tensor:
    return at(Jet.seed(basis, START), values).components


def features(basis: Basis, values: str, shift: Tensor | None = None) -> Jet:
    found = components(basis, values).clone()
    if shift is not None:
        found[0] += shift
    return Jet(basis, found)


TRAINED = {"lower": INDICES[:6], "all": INDICES}


def slope_by(shift: Tensor, derivatives: list[Tensor]) -> Tensor:
    total = sum((k + 1) * derivative.sum() for k, derivative in enumerate(derivatives))
    if not total.requires_grad:
        return torch.zeros_like(shift)
    return torch.autograd.grad(total, shift, retain_graph=True, materialize_grads=True, allow_unused=True)[0]


def assert_close(found: Tensor, expected: Tensor, what: object) -> None:
    assert found.shape == expected.shape, what
    finite = expected.isfinite()
    if not finite.all():
        assert torch.equal(found[~finite].nan_to_num(), expected[~finite].nan_to_num()), what
        found, expected = found[finite], expected[finite]
    if len(expected.flatten()):
        assert (found - expected).abs().max() <= TOLERANCE * (1 + expected.abs().max()), what


def assert_exact(function, values: str = "any", oracle=None) -> None:
    """Values and derivatives to order 4 of `function` on jets are those of `oracle`, by nested autograd; lower orders, the
    value alone and the collapsed Laplacian, which are computed in other ways, are the same."""
    h = at(START, values)
    shift = torch.zeros_like(h).requires_grad_()
    plain, output = function(h), function(features(WHOLE, values, shift))
    expected = nested(oracle or function, values)
    assert len(tensors(output)) == len(tensors(plain)) == len(expected)
    low = tensors(function(features(LOW, values, shift)))
    value, collapsed = (tensors(function(features(basis, values))) for basis in (VALUE, LAPLACIAN))
    for i, (jet, plain_part, derivatives) in enumerate(zip(tensors(output), tensors(plain), expected, strict=True)):
        if not isinstance(jet, Jet):
            assert not any(derivatives[index].any() for index in INDICES[1:])
            assert not jet.requires_grad
            assert torch.equal(jet, plain_part) and jet.dtype == plain_part.dtype
            continue
        assert (jet.shape, jet.dtype) == (plain_part.shape, plain_part.dtype)
        assert_close(jet.value, plain_part if oracle is None else oracle(h), "value")
        assert_close(value[i].value, jet.value, "value alone")
        for index in INDICES:
            assert_close(projected(jet.derivative(index)).detach(), derivatives[index], index)
        for name, part in {"lower": low[i], "all": jet}.items():
            slope = slope_by(shift, [projected(part.derivative(index)) for index in TRAINED[name]])
            assert_close(slope, derivatives[name], ("slope", name))
        for index in INDICES[:6]:
            assert_close(low[i].derivative(index), jet.derivative(index), ("order 2", index))
        laplacian = jet.derivative((2, 0)) + jet.derivative((0, 2))
        assert_close(collapsed[i].laplacian((0, 1)), laplacian, "Laplacian")


def test_torch_keeps_every_function_of_the_table_where_the_test_looks():
    native = {getattr(_NATIVE, name) for name in dir(_NATIVE) if callable(getattr(_NATIVE, name))}
    assert not set(RULES) - native - {function for _, function, _ in SPELLINGS.values()}
    assert len(SPELLINGS) >= 250


@pytest.mark.slow
def test_functions_that_another_package_has_replaced_in_torch():
    """As torch_geometric replaces torch.select, by one that calls torch's own."""
    code = (
        "import torch; own = torch.select; torch.select = lambda x, dim, index: own(x, dim, index); import pinntk\n"
        "class Net(torch.nn.Linear):\n"
        "    def forward(self, x): return torch.select(super().forward(x).tanh(), 1, 0).unsqueeze(1)\n"
        "problem = pinntk.load('poisson1d'); net = Net(1, 3)\n"
        "pinntk.errors(net, problem, problem.sample(residual=4, boundary=2), method='taylor')"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Casts whose rounding nested autograd repeats for every derivative; `test_a_cast_rounds_every_component` has them.
ROUNDED = ("float", "half", "bfloat16", "cuda")


# Of each rule the first spelling by default. One worker has them all, for what they share.
FIRST = {(name, RULES[function]): spelled for spelled, (name, function, _) in reversed(SPELLINGS.items())}.values()
SPELLED = [
    pytest.param(spelled, marks=[pytest.mark.xdist_group(f"rule {name}"), *([] if spelled in FIRST else [pytest.mark.slow])])
    for spelled, (name, _, _) in SPELLINGS.items()
    if name not in ROUNDED
]
ANSWERS: dict[tuple, list[Tensor]] = {}  # of a rule in a case: torch's, and the rule's


@pytest.mark.parametrize("spelled", SPELLED)
def test_rule(spelled):
    """In another spelling with the same rule and the same answers, it is exact if it was in the first."""
    name, function, call = SPELLINGS[spelled]
    assert name in CASES, f"rule {name!r} has no case in tests/rule_cases.py"
    tried = 0
    for case in CASES[name]:
        if accepted(case, call):
            answers, key = answered(case, call), (RULES[function], case)
            if key not in ANSWERS or not alike(answers, ANSWERS[key]):
                assert_exact(partial(case.call, call), case.values, case.oracle)
                ANSWERS[key] = answers
            tried += 1
    assert tried, f"no case of {name!r} has arguments that {spelled} takes"


def answered(case: Case, call) -> list[Tensor]:
    by_torch = tensors(case.call(call, at(START, case.values)))
    by_rule = tensors(case.call(call, features(WHOLE, case.values)))
    return [*by_torch, *(part.components if isinstance(part, Jet) else part for part in by_rule)]


def alike(found: list[Tensor], expected: list[Tensor]) -> bool:
    """To the last bit; NaN is NaN."""
    return len(found) == len(expected) and all(
        a.dtype == b.dtype and torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("name", ROUNDED)
def test_a_cast_rounds_every_component(name):
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    jet = features(WHOLE, "any")
    found = getattr(jet, name)()
    assert torch.equal(found.components, getattr(jet.components, name)())


def accepted(case: Case, function) -> bool:
    """Whether torch takes these arguments in this spelling: torch.softmax has no default dimension, say."""
    try:
        case.call(function, at(START, case.values))
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("idiom", IDIOMS.values(), ids=IDIOMS)
def test_idiom(idiom):
    assert_exact(idiom)


def test_a_choice_shows_nothing_of_what_is_not_chosen():
    """torch's own slope of where(h > 0, sqrt(h), 0) is NaN at h < 0: 0 times that of the root."""
    found, expected = (torch.where(h > 0, root, 0.0) for h, root in roots())
    for index in INDICES:
        assert_close(found.derivative(index), expected.derivative(index), index)


def roots():
    h = features(WHOLE, "any")
    return (h, h.sqrt()), (h, torch.where(h > 0, h, 1.0).sqrt())


# Everything else is refused by name.

REFUSALS = (UnsupportedOperationError, DependentPointsError)
OTHERS = {
    f"{getattr(function, '__module__', None)} {function.__qualname__}": (function, stand_in)
    for function, stand_in in get_testing_overrides().items()
    if function not in RULES and "__get__" not in getattr(function, "__name__", "") and hasattr(function, "__qualname__")
}


def test_every_function_without_a_rule_is_refused():
    """All of torch that a jet can reach: about a thousand functions."""
    assert len(OTHERS) > 800
    answered = []
    for name, (function, stand_in) in OTHERS.items():
        parameters = inspect.signature(stand_in).parameters.values()
        needed = sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
        jet = Jet.seed(Basis.spanning([(2, 0)], 2), START)
        try:
            result = function(*[jet] * max(needed, 1))
        except (*REFUSALS, TypeError, RuntimeError, AttributeError):  # torch's own, of arguments that are no tensors
            continue
        if result is not NotImplemented:
            answered.append((name, result))
    assert not answered


def test_every_attribute_of_a_tensor_is_answered_or_refused():
    jet = Jet.seed(Basis.spanning([(2, 0)], 2), START)
    for name in (name for name in dir(Tensor) if not name.startswith("__")):
        try:
            found = getattr(jet, name)
        except UnsupportedOperationError as error:
            assert name in str(error), name
            continue
        assert name in dir(Jet) or getattr(Tensor, name) in RULES, name
        if not callable(found) and not isinstance(found, Jet):
            assert found == getattr(START, name), name
