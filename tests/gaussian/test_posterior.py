"""The linearized Laplace posterior against the dense formula, exact regression, the Cramer-Rao bound and repeated noise."""

from copy import deepcopy
from math import exp, pi, sin

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pinntk
from pinntk.gaussian import Posterior, UnidentifiedError, posterior
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.reference import relative

DOMAIN = pinntk.Box(x=(0, 1))
FORMS = ("kernel", "parameters")
X = torch.linspace(0.05, 0.95, 12, dtype=torch.float64)
SEEN = torch.cos(3 * X) + 0.3 * X


class Cubic(nn.Module):
    """u = a_0 + a_1 x + a_2 x^2 + a_3 x^3: linear in its parameters, so the linearized posterior is exact."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x):
        return self.linear(torch.cat([x**0, x, x**2, x**3], 1))


def regression() -> pinntk.Problem:
    """u'' = source and readings of u: Bayesian linear regression for (a_0 .. a_3, source)."""

    @pinntk.residual(DOMAIN)
    def equation(u_xx, source):
        return u_xx - source

    @pinntk.data(DOMAIN, X, seen=SEEN)
    def readings(u, seen):
        return u - seen

    return pinntk.Problem(DOMAIN, [equation, readings], coefficients={"source": 0.0})


@pytest.mark.parametrize("form", FORMS)
def test_it_is_exact_bayesian_linear_regression_where_the_model_is_linear(form):
    problem, network = regression(), Cubic()
    points = problem.sample(residual=7, dtype=torch.float64)
    z = points["equation"][:, 0]
    noise = {"equation": 0.3, "readings": 0.05}
    # Rows and right-hand sides by hand.
    design = torch.cat(
        [
            torch.stack([0 * z, 0 * z, 0 * z + 2, 6 * z, 0 * z - 1], 1) / 0.3,
            torch.stack([X**0, X, X**2, X**3, 0 * X], 1) / 0.05,
        ]
    )
    target = torch.cat([0 * z, SEEN / 0.05])
    precision = design.T @ design + torch.diag(torch.tensor([0.25, 0.25, 0.25, 0.25, 1 / 9], dtype=torch.float64))
    covariance = torch.linalg.inv(precision)
    best = covariance @ design.T @ target
    vector_to_parameters(best[:4], network.parameters())
    vector_to_parameters(best[4:], problem.coefficients.values())

    found = posterior(network, problem, points, noise, prior={"network": 2.0, "source": 3.0}, form=form)
    assert found.form == form
    mean, std = found.coefficients["source"]
    assert mean == pytest.approx(float(best[4]), rel=1e-12)
    assert std == pytest.approx(float(covariance[4, 4]) ** 0.5, rel=1e-10)
    where = torch.tensor([0.0, 0.31, 1.0], dtype=torch.float64)
    rows = torch.stack([where**0, where, where**2, where**3, 0 * where], 1)
    mean, std = found.field(where[:, None])
    assert relative(mean[:, 0], rows @ best) < 1e-12
    assert relative(std[:, 0], (rows @ covariance * rows).sum(1).sqrt()) < 1e-10
    nn.init.zeros_(network.linear.weight)  # what is trained on changes nothing that was found
    assert torch.equal(found.field(where[:, None])[0], mean)
    low, high = found.interval("source", 0.6826894921370859)  # one standard deviation either way
    assert (high - low) / 2 == pytest.approx(found.coefficients["source"][1], rel=1e-10)
    assert (high + low) / 2 == pytest.approx(found.coefficients["source"][0], rel=1e-12)


@pytest.mark.parametrize("example", ["inverse", "everything", "stokes"])
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_equal_the_dense_formula(example, form):
    """With flat priors on the coefficients; `stokes` has none, and three fields."""
    problem, points = EXAMPLES[example].load()
    network = pinntk.nn.MLP(problem, width=5, depth=2, seed=3, dtype=torch.float64)
    noise = {name: 0.5 + 0.1 * i for i, name in enumerate(points)}
    J = torch.cat([rows / noise[name] for name, rows in reference.jacobian(network, problem, points).items()])
    q = len(problem.coefficients)
    p = J.shape[1] - q
    precision = J.T @ J + torch.tensor([0.7**-2] * p + [0.0] * q, dtype=torch.float64).diag()
    covariance = torch.linalg.inv(precision)
    found = posterior(network, problem, points, noise, prior=0.7, form=form)
    assert found.names == tuple(problem.coefficients)
    assert relative(found.covariance, covariance[p:, p:]) < 1e-9

    inside = torch.from_numpy(problem.domain.grid((2,) * problem.domain.dimension))
    outputs = network(inside)
    mean, std = found.field(inside)
    assert relative(mean, outputs) < 1e-14
    parameters = list(network.parameters())
    for field in range(outputs.shape[1]):
        rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in outputs[:, field]]
        rows = torch.stack([torch.cat([g.flatten() for g in row] + [torch.zeros(q).double()]) for row in rows])
        assert relative(std[:, field], (rows @ covariance * rows).sum(1).sqrt()) < 1e-9


@pytest.mark.parametrize("count", [60, 400])  # fewer, and more points than the network's 205 parameters
def test_both_forms_agree_where_the_equation_is_all_but_exact(count):
    problem = pinntk.load("heat_inverse")
    network = pinntk.nn.MLP(problem, width=12, depth=2, dtype=torch.float64)
    points = problem.sample(residual=count, initial=20, boundary=20, dtype=torch.float64)
    noise = {"heat": 1e-4, "start": 1e-4, "walls": 1e-4, "readings": 0.01}
    one, other = (posterior(network, problem, points, noise, form=form) for form in FORMS)
    assert relative(one.covariance, other.covariance) < 1e-8
    grid = torch.from_numpy(problem.domain.grid((5, 5)))
    assert relative(one.field(grid)[1], other.field(grid)[1]) < 1e-8
    assert posterior(network, problem, points, noise).form == ("kernel" if count == 60 else "parameters")


def test_a_prior_adds_its_precision_to_that_of_the_data():
    problem, network = regression(), Cubic()
    points, noise = problem.sample(residual=7, dtype=torch.float64), {"equation": 0.3, "readings": 0.05}
    _, flat = posterior(network, problem, points, noise).coefficients["source"]
    _, held = posterior(network, problem, points, noise, prior={"source": 0.2}).coefficients["source"]
    assert held**-2 == pytest.approx(flat**-2 + 0.2**-2, rel=1e-10)


def test_a_coefficient_that_is_not_trained_is_known():
    problem, points = EXAMPLES["inverse"].load()
    problem.coefficients["nu"].requires_grad_(False)
    network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64)
    found = posterior(network, problem, points, {"heat": 0.1, "sensors": 0.1})
    assert tuple(found.coefficients) == ("source",)
    with pytest.raises(KeyError, match="no coefficient 'nu'"):
        found.interval("nu")


def test_without_coefficients_the_field_alone_is_uncertain():
    problem = pinntk.load("poisson1d", k=1)
    network = pinntk.nn.MLP(problem, width=8, depth=1)  # float32
    points = problem.sample(residual=20, boundary=2)
    found = posterior(network, problem, points, {"poisson": 1e-3, "ends": 1e-3})
    assert found.coefficients == {}
    mean, std = found.field(torch.tensor([[0.0], [0.5]]))
    assert mean.dtype == std.dtype == torch.float64
    assert std[0, 0] < 1.1e-3 and std.shape == (2, 1)
    assert repr(found) == "Posterior(no coefficients; kernel form)" and isinstance(found, Posterior)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": {"equation": 0.1}}, r"noise for \['readings'\] is missing"),
        ({"noise": {"equation": 0.1, "readings": 0.1, "walls": 1.0}}, r"noise for \['walls'\]: there are no points"),
        ({"noise": {"equation": 0.0, "readings": 0.1}}, "noise equation=0.0: a standard deviation"),
        ({"noise": {"equation": float("nan"), "readings": 0.1}}, "noise equation=nan"),
        ({"prior": -1.0}, "prior network=-1.0: a standard deviation"),
        ({"prior": {"sauce": 1.0}}, "prior for 'sauce': use 'network' or a coefficient of"),
        ({"form": "dense"}, "form='dense' is unknown; use one of"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    problem = regression()
    points = problem.sample(residual=7, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        posterior(Cubic(), problem, points, **{"noise": {"equation": 0.1, "readings": 0.1}, **arguments})


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_a_level_is_a_probability(level):
    problem = regression()
    points = problem.sample(residual=7, dtype=torch.float64)
    found = posterior(Cubic(), problem, points, {"equation": 0.1, "readings": 0.1})
    with pytest.raises(ValueError, match="a probability between 0 and 1"):
        found.interval("source", level)
    with pytest.raises(ValueError, match="holds on x in"):
        found.field(torch.tensor([[2.0]]))


@pytest.mark.parametrize("form", FORMS)
def test_a_coefficient_that_no_error_depends_on_is_unidentified(form):
    """Two coefficients of which only the sum matters, and one whose condition has no points."""

    @pinntk.residual(DOMAIN)
    def equation(u_xx, first, second):
        return u_xx - first - second

    @pinntk.data(DOMAIN, X, seen=SEEN)
    def readings(u, seen):
        return u - seen

    problem = pinntk.Problem(DOMAIN, [equation, readings], coefficients={"first": 0.0, "second": 0.0})
    points, noise = problem.sample(residual=7, dtype=torch.float64), {"equation": 0.1, "readings": 0.1}
    with pytest.raises(UnidentifiedError, match="coefficient 'second', or only a combination"):
        posterior(Cubic(), problem, points, noise, form=form)
    found = posterior(Cubic(), problem, points, noise, prior={"second": 0.5}, form=form)
    assert found.coefficients["second"][1] == pytest.approx(0.5, rel=1e-9)
    with pytest.raises(UnidentifiedError, match="coefficient 'first'"):
        posterior(Cubic(), problem, {"readings": points["readings"]}, {"readings": 0.1}, form=form)


def levenberg_marquardt(network, problem, points, noise, steps):
    """Minimizes sum |e_i|^2 / s_i^2 over the network and the coefficients; stops where it no longer falls."""
    theta = [*network.parameters(), *problem.coefficients.values()]

    def residuals():
        found = pinntk.errors(network, problem, points)
        return torch.cat([e.detach() / noise[name] for name, e in found.items()])

    mu, before, history = None, residuals(), []
    for _ in range(steps):
        J = torch.cat([part.matrix() / noise[name] for name, part in pinntk.factors(network, problem, points).items()])
        start, H = parameters_to_vector(theta).detach(), J.T @ J
        mu = mu or 1e-3 * float(H.trace()) / len(H)
        for _ in range(12):
            vector_to_parameters(start - torch.linalg.solve(H + mu * torch.eye(len(H)).to(H), J.T @ before), theta)
            if (after := residuals()).norm() < before.norm():
                break
            mu *= 4
        else:
            vector_to_parameters(start, theta)
            return
        mu, before = mu / 4, after
        history.append(float(before.square().sum()))
        if len(history) > 8 and history[-8] - history[-1] < 1e-2:
            return


@pytest.mark.slow
def test_intervals_cover_the_truth_and_are_no_wider_than_the_data_allow(draws=100):
    """heat_inverse, 100 draws of noise and sensor places, each fitted anew from the fit of the first."""
    kappa, sigma = 0.2, 0.01
    noise = {"heat": 1e-2, "start": 1e-3, "walls": 1e-3, "readings": sigma}
    hits, ratios, scores, fitted = 0, [], [], None
    for seed in range(draws):
        problem = pinntk.load("heat_inverse", kappa=kappa, noise=sigma, seed=seed)
        points = problem.sample(residual=300, initial=40, boundary=40, method="sobol", dtype=torch.float64)
        if fitted is None:
            fitted = pinntk.nn.MLP(problem, width=12, depth=2, dtype=torch.float64)
            levenberg_marquardt(fitted, problem, points, noise, 150)
        network = deepcopy(fitted)
        with torch.no_grad():
            problem.coefficients["kappa"].fill_(0.25)
        levenberg_marquardt(network, problem, points, noise, 60)
        found = pinntk.posterior(network, problem, points, noise)
        mean, std = found.coefficients["kappa"]
        low, high = found.interval("kappa", 0.95)
        hits += low <= kappa <= high
        scores.append((mean - kappa) / std)
        # The Cramer-Rao bound of kappa, were u = exp(-kappa pi^2 t) sin(pi x) given: no unbiased estimate does better.
        slopes = [pi**2 * t * exp(-kappa * pi**2 * t) * sin(pi * x) for t, x, _ in points["readings"].tolist()]
        ratios.append(std * sum(slope**2 for slope in slopes) ** 0.5 / sigma)
    assert 0.9 <= hits / draws <= 0.99, hits
    assert min(ratios) > 0.97 and max(ratios) < 1.1, (min(ratios), max(ratios))
    assert 0.8 < torch.tensor(scores).std() < 1.2
