"""The strong Wolfe line search against that of torch's L-BFGS, trial by trial, and against its conditions."""

import pytest
import torch

from pinntk.solvers._line_search import Trial, strong_wolfe
from tests.solvers.test_broyden import ill_scaled, rosenbrock
from tests.support.sweeps import sweep

F64 = torch.float64
FUNCTIONS = {
    "rosenbrock": rosenbrock,
    "ill scaled": ill_scaled,
    "quartic": lambda x: (x**4).sum() + (x - 0.3).square().sum(),
    "wavy": lambda x: (x.square() + 3 * torch.sin(5 * x)).sum(),
    "kinked": lambda x: (x - 0.1).abs().sum() + 0.01 * x.square().sum(),
    "logarithmic": lambda x: torch.log1p(x.square()).sum(),
    "linear until far away": lambda x: x.sum() + torch.relu(-x - 50).square().sum(),
}


class Recorded:
    """A function, its gradient, and every point where it was asked for."""

    def __init__(self, function):
        self.function, self.points = function, []

    def __call__(self, x):
        self.points.append(x.detach().clone())
        leaf = x.detach().clone().requires_grad_()
        loss = self.function(leaf)
        return loss.item(), torch.autograd.grad(loss, leaf)[0]


def of_lbfgs(function, x, lr, steps):
    """(x, direction, first trial, trials) of each step of torch's L-BFGS."""
    x = x.clone().requires_grad_()
    record = Recorded(function)
    optimizer = torch.optim.LBFGS(
        [x], lr=lr, max_iter=1, max_eval=1000, tolerance_grad=0, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def closure():
        loss, x.grad = record(x)
        return torch.tensor(loss, dtype=F64)

    for step in range(steps):
        record.points.clear()
        optimizer.step(closure)
        at, *trials = record.points
        if not trials:  # the slope is rounding
            return
        gradient = Recorded(function)(at)[1]
        first = min(1.0, 1.0 / gradient.abs().sum()) * lr if step == 0 else lr
        yield at, optimizer.state[x]["d"].clone(), first, trials


@pytest.mark.parametrize("lr", sweep((1e-3, 1.0, 30.0), 1.0))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_trials_are_those_of_lbfgs(name, lr):
    function, compared = FUNCTIONS[name], 0
    for seed in range(2):
        start = torch.randn(6, dtype=F64, generator=torch.Generator().manual_seed(seed))
        for x, d, first, expected in of_lbfgs(function, start, lr, 30):
            record = Recorded(function)
            loss, gradient = Recorded(function)(x)
            at = Trial(0.0, loss, gradient, gradient.dot(d))
            found = strong_wolfe(lambda t: record(x.clone().add_(d, alpha=t)), d, at, first, smallest=1e-9)
            assert len(record.points) == len(expected)
            assert all(map(torch.equal, record.points, expected))
            assert found.loss == min(Recorded(function)(point)[0] for point in (x, *expected)) or found.loss < loss
            compared += len(expected)
    assert compared > 10


@pytest.mark.parametrize("name", ["rosenbrock", "quartic", "wavy", "logarithmic"])
@pytest.mark.parametrize("first", [1e-6, 1.0, 1e3])
def test_what_it_finds_meets_the_strong_wolfe_conditions(name, first):
    function = FUNCTIONS[name]
    x = torch.randn(6, dtype=F64, generator=torch.Generator().manual_seed(0))
    loss, gradient = Recorded(function)(x)
    d = -gradient
    start = Trial(0.0, loss, gradient, gradient.dot(d))
    found = strong_wolfe(lambda t: Recorded(function)(x + t * d), d, start, first, smallest=1e-12)
    assert found.loss <= loss + 1e-4 * found.length * start.slope
    assert abs(float(Recorded(function)(x + found.length * d)[1].dot(d))) <= 0.9 * abs(start.slope)
    assert found.loss == Recorded(function)(x + found.length * d)[0]
