"""Fields and coefficients far from size 1 are named with their sizes, and what is prescribed mends them."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk import Box, Prescription, Problem, boundary, data, residual
from pinntk._util.numbers import number
from pinntk.diagnostics import RULES, examine
from tests.support.sweeps import sweep

F64 = {"dtype": torch.float64}
POINTS = {"residual": 16, "boundary": 2}


def wall(kelvin=300.0, meters=1.0) -> Problem:
    """T from `kelvin` to a third more across a wall, with a source."""
    domain = Box(x=(0, meters))

    @residual(domain)
    def conduction(T_xx):
        return meters**2 * T_xx + kelvin / 4

    @boundary(domain.ends("x"))
    def ends(T, x):
        return T - kelvin * (1 + x / meters / 3)

    def exact(x):
        return kelvin * (1 + x / meters / 3 + (1 - x / meters) * x / meters / 8)

    return Problem(domain, [conduction, ends], fields=("T",), exact=exact)


def decay(rate=3e9, start=1.0) -> Problem:
    domain = Box(t=(0, 1))
    times = np.linspace(0.05, 1, 20)

    @residual(domain)
    def law(y, y_t, k):
        return y_t + 1e-9 * k * y

    @data(domain, times, seen=np.exp(-1e-9 * rate * times))
    def readings(y, seen):
        return y - seen

    return Problem(domain, [law, readings], fields=("y",), coefficients={"k": start})


def raw(problem, steps=100, coefficient_scales=MappingProxyType({}), **network):
    network = pinntk.nn.MLP(problem, width=12, depth=1, **{"output_scales": {}, **F64, **network})
    settings = {"progress": False, "snapshot_every": 0, "coefficient_scales": coefficient_scales}
    return pinntk.train(problem, network, steps=steps, points=POINTS, **settings)


def first(subject, *rest):
    found = pinntk.diagnose(subject, *rest)
    return found[0] if found else None


@pytest.mark.parametrize("kelvin", sweep((300.0, 1e-5, 3e6), 1e-5))
def test_a_field_far_from_1_is_named_in_its_units_and_mended(kelvin):
    run = raw(wall(kelvin), steps=30)
    found = first(run)
    assert (found.code, found.severity) == ("unscaled-output", "critical")
    assert found.evidence["field_size/T"] == pytest.approx(1.2 * kelvin, rel=0.05)
    assert number(found.evidence["field_shift/T"]) in found.sentence
    changes = found.prescriptions[0].changes
    assert changes["network.arguments.output_scales"] == {"T": list(examine(run).scales.far["T"])}
    assert changes["weighting"]["name"] == "ntk"
    shorter = Prescription("as prescribed, in fewer steps", {**changes, "training.steps": 30})
    rescued = pinntk.rescue(run, findings=[found], prescription=shorter, progress=False)
    assert rescued.after.relative_error < 1e-3 < rescued.before.relative_error
    assert "unscaled-output" not in [finding.code for finding in pinntk.diagnose(rescued.after)]


@pytest.mark.slow
def test_a_prescription_normalizes_raw_inputs_too_where_they_need_it():
    far = first(raw(wall(meters=6000.0), normalize=False)).prescriptions[0].changes
    assert far["network.arguments.normalize"] is True
    assert "network.arguments.normalize" not in first(raw(wall(), normalize=False)).prescriptions[0].changes


def test_a_field_of_size_1_and_a_scaled_network_are_not_named():
    assert RULES["unscaled-output"](examine(raw(wall(1.0), steps=5))) is None
    assert RULES["unscaled-output"](examine(raw(wall(), steps=5, output_scales="auto"))) is None


def test_values_that_a_hard_constraint_brings_in_need_no_scale():
    """What is left to the network is of size 10 at most."""
    network = pinntk.nn.MLP(wall(30.0), width=12, depth=1, hard="auto", output_scales={}, **F64)
    points = wall(30.0).sample(POINTS, **F64)
    assert RULES["unscaled-output"](examine(network, wall(30.0), points)) is None


class Own(nn.Module):
    def __init__(self, problem, scale):
        super().__init__()
        self.inner, self.scale = pinntk.nn.MLP(problem, width=12, depth=1, output_scales={}, **F64), scale

    def forward(self, x):
        return self.scale * self.inner(x)


def test_networks_of_ones_own_are_judged_by_what_they_reach():
    problem = wall(3e6)
    points = problem.sample(POINTS, **F64)
    found = first(Own(problem, 1.0), problem, points)
    assert found.code == "unscaled-output" and found.severity == "warning"
    assert "the network return T = " in found.prescriptions[0].sentence and found.prescriptions[0].changes == {}
    assert RULES["unscaled-output"](examine(Own(problem, 3e6), problem, points)) is None


def test_a_coefficient_far_from_where_it_stands():
    found = RULES["unscaled-coefficient"](examine(raw(decay(), steps=5)))
    assert found.evidence["coefficient_size/k"] == pytest.approx(3e9, rel=0.05)
    assert RULES["unscaled-coefficient"](examine(raw(decay(start=-2.0), steps=5))).evidence["coefficient_value/k"] < 0
    assert "3.00e9" in found.sentence and found.prescriptions[0].changes["training.coefficient_scales"]["k"] > 2e9
    assert RULES["unscaled-coefficient"](examine(raw(decay(), steps=5, coefficient_scales=None))) is None  # the default
    assert RULES["unscaled-coefficient"](examine(raw(decay(start=2e9), steps=5))) is None
    assert RULES["unscaled-coefficient"](examine(raw(pinntk.load("heat_inverse"), steps=5))) is None
