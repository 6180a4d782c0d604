"""Points, measured: each measurement on points that are good and on points that are not."""

from math import pi

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk.diagnostics import causality, coverage, redundancy, where_missing
from pinntk.diagnostics._sampling import WHOLE

F64 = {"dtype": torch.float64}
LINE = pinntk.Box(x=(0, 1))
PLANE = pinntk.Box(t=(0, 2), x=(-1, 1))


def poisson() -> pinntk.Problem:
    @pinntk.residual(LINE)
    def equation(u_xx, x):
        return u_xx + pi**2 * torch.sin(pi * x)

    @pinntk.boundary(LINE.ends("x"))
    def ends(u):
        return u

    return pinntk.Problem(LINE, [equation, ends])


def heat(domain: pinntk.Box = PLANE, at: float = 0.0) -> pinntk.Problem:
    """u = exp(-|t - at|) sin(pi x)."""
    time = domain.coordinates[0]
    sign = 1 if at == 0 else -1
    equation = {
        "t": lambda u_t, u_xx: sign * u_t - u_xx / pi**2,
        "age": lambda u_age, u_xx: sign * u_age - u_xx / pi**2,
    }[time]
    equation.__name__ = "equation"

    @pinntk.initial(domain.at(**{time: at}))
    def start(u, x):
        return u - torch.sin(pi * x)

    @pinntk.boundary(domain.ends("x"))
    def walls(u):
        return u

    def exact(points):
        return torch.exp(-(points[:, 0] - at).abs()) * torch.sin(pi * points[:, 1])

    return pinntk.Problem(domain, [pinntk.residual(domain)(equation), start, walls], exact=exact)


def mlp(problem: pinntk.Problem, **choices) -> nn.Module:
    return pinntk.nn.MLP(problem, **{"width": 24, "depth": 2, **F64, **choices})


class Solution(nn.Module):
    """exp(-t) sin(pi x) + size max(0, sign (t - 1))^3, wrong at one side of t = 1."""

    def __init__(self, sign: float, size: float = 0.1):
        super().__init__()
        self.sign = sign
        self.size = nn.Parameter(torch.tensor(size, dtype=torch.float64))

    def forward(self, z):
        t, x = z[:, :1], z[:, 1:]
        return torch.exp(-t) * torch.sin(pi * x) + self.size * torch.relu(self.sign * (t - 1)) ** 3


# redundancy


def kernel_of(rows: torch.Tensor) -> pinntk.KernelBlocks:
    problem = heat()
    network = mlp(problem, width=128, depth=1, parametrization="ntk")
    return pinntk.kernel(network, problem, {"equation": rows, "walls": problem.sample(boundary=12, **F64)["walls"]})


def test_duplicates_and_clusters_lower_rank_and_effective_number():
    good = heat().sample(residual=80, method="sobol", **F64)["equation"]
    healthy = redundancy(kernel_of(good))["equation"]
    doubled = redundancy(kernel_of(good[:20].repeat(4, 1)))["equation"]
    clustered = redundancy(kernel_of(0.05 * good))["equation"]
    assert (healthy.points, healthy.duplicates, clustered.duplicates) == (80, 0, 0)
    assert (doubled.duplicates, doubled.rank, doubled.share) == (60, 20, 0.75)
    assert healthy.rank > 75
    assert healthy.effective > 2.5 * doubled.effective
    assert healthy.effective > 5 * clustered.effective


def test_of_a_kernel_known_by_hand():
    J = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, -4, 0], [0, 0, 0]], dtype=torch.float64)
    found = redundancy(pinntk.KernelBlocks(J @ J.T, ("a", "b"), ("residual", "boundary"), (2, 2)))
    assert (found["a"].rank, found["a"].duplicates) == (2, 0)
    assert (found["b"].rank, found["b"].share, found["b"].duplicates) == (1, 0.5, 0)
    assert (found[WHOLE].points, found[WHOLE].rank, found[WHOLE].duplicates) == (4, 2, 1)  # -4 repeats 2, the zero row nothing
    mu = 1e-4 * (1 + 20) / 4
    assert found[WHOLE].effective == pytest.approx(1 / (1 + mu) + 20 / (20 + mu))
    identity = pinntk.KernelBlocks(torch.eye(5, **F64), ("a",), ("data",), (5,))
    assert redundancy(identity)["a"].effective == pytest.approx(5, rel=1e-3)
    nothing = redundancy(pinntk.KernelBlocks(torch.zeros(3, 3), ("a",), ("data",), (3,)))["a"]
    assert (nothing.rank, nothing.effective, nothing.duplicates) == (0, 0, 0)


def test_the_floor_is_the_users_to_choose():
    K = pinntk.KernelBlocks(torch.diag(torch.tensor([1.0, 1e-3, 1e-9], **F64)), ("a",), ("data",), (3,))
    assert redundancy(K)["a"].rank == 3
    assert redundancy(K, floor=1e-6)["a"].rank == 2


def test_redundancy_refuses_what_it_cannot_measure():
    with pytest.raises(TypeError, match=r"pinntk\.kernel returns"):
        redundancy(torch.eye(3))
    broken = pinntk.KernelBlocks(torch.full((2, 2), torch.nan), ("a",), ("data",), (2,))
    with pytest.raises(ValueError, match="NaN or infinity"):
        redundancy(broken)
    with pytest.raises(ValueError, match="floor=2"):
        redundancy(pinntk.KernelBlocks(torch.eye(2), ("a",), ("data",), (2,)), floor=2)


# coverage


@pytest.mark.parametrize("method", ["sobol", "latin-hypercube", "uniform", "grid"])
@pytest.mark.parametrize("problem", [poisson(), heat()])
def test_every_sampling_method_covers_every_region(problem, method):
    points = problem.sample(residual=300, boundary=60, initial=60, method=method, **F64)
    for found in coverage(problem, points).values():
        assert found.duplicates == 0
        assert found.gap < (4 if method == "uniform" else 2)  # chance leaves gaps of log n times the spacing
        assert 0.3 < found.spacing < 2


def test_gaps_clusters_and_duplicates_show_on_interior_and_faces():
    problem = heat()
    points = problem.sample(residual=300, boundary=60, initial=60, method="sobol", **F64)
    for name in points:
        # A hole: nothing where x > 0.2 (on the walls, where t > 1).
        axis, limit = (0, 1.0) if name == "walls" else (1, 0.2)
        rows = points[name]
        found = coverage(problem, {name: rows[rows[:, axis] < limit]})[name]
        assert found.gap > 4
        assert found.hole[axis] > limit
        doubled = coverage(problem, {name: rows[:20].repeat(3, 1)})[name]
        assert (doubled.duplicates, doubled.spacing) == (40, 0)
    pairs = torch.cat([points["equation"], points["equation"] * (1 - 1e-4)])
    assert coverage(problem, {"equation": pairs})["equation"].spacing < 0.05


def test_the_hole_is_in_the_domains_coordinates():
    problem = poisson()
    rows = torch.cat([torch.linspace(0, 0.3, 50, **F64), torch.linspace(0.5, 1, 50, **F64)])[:, None]
    assert coverage(problem, {"equation": rows})["equation"].hole == pytest.approx([0.4], abs=1e-3)
    far = pinntk.Box(x=(100, 300))

    @pinntk.residual(far)
    def equation(u):
        return u

    found = coverage(pinntk.Problem(far, [equation]), {"equation": 100 + 200 * rows})["equation"]
    assert found.hole == pytest.approx([180], abs=0.2)


def test_two_ends_are_two_places_and_no_alarm_unless_one_is_missing():
    problem = poisson()
    found = coverage(problem, problem.sample(boundary=50))["ends"]
    assert (found.points, found.duplicates, found.gap, found.spacing) == (50, 0, 1.0, 1.0)
    one_side = coverage(problem, {"ends": torch.zeros(50, 1)})["ends"]
    assert one_side.gap == np.inf
    assert one_side.hole == [1.0]


def test_measurements_are_compared_with_the_whole_domain():
    rng = np.random.default_rng(0)

    def measured(high: float) -> pinntk.Problem:
        where = np.column_stack([2 * rng.random(60), -1 + (1 + high) * rng.random(60)])

        @pinntk.data(PLANE, where, seen=np.ones(60))
        def sensors(u, seen):
            return u - seen

        return pinntk.Problem(PLANE, [sensors])

    healthy, failing = (coverage(problem, problem.sample())["sensors"] for problem in map(measured, (1.0, 0.0)))
    assert healthy.gap < 2 < 3 < failing.gap


def test_a_single_point_has_no_neighbor_and_reference_is_checked():
    problem = heat()
    assert np.isnan(coverage(problem, {"equation": torch.zeros(1, 2)})["equation"].spacing)
    with pytest.raises(ValueError, match="reference=0"):
        coverage(problem, {"equation": torch.zeros(1, 2)}, reference=0)
    with pytest.raises(TypeError, match=r"\(problem, points\)"):
        coverage(mlp(problem), problem)


# where_missing


class Wiggle(nn.Module):
    """u = amplitude sin(3 pi x) sin^2(m pi x) / m^2 + sin(pi x): an error that vanishes on the grid k / m."""

    def __init__(self, m: int, amplitude: float):
        super().__init__()
        self.m = m
        self.amplitude = nn.Parameter(torch.tensor(amplitude, **F64))

    def forward(self, x):
        bump = torch.sin(self.m * pi * x) ** 4 / self.m**2
        return torch.sin(pi * x) + self.amplitude * bump


def test_an_error_that_hides_between_the_points_is_found():
    problem, network = poisson(), Wiggle(10, 1.0)
    grid = {"equation": torch.linspace(0, 1, 11, **F64)[:, None], "ends": torch.tensor([[0.0], [1.0]], **F64)}
    found = where_missing(network, problem, grid, dense=512, top=7)
    assert found["equation"].ratio > 1e6
    assert found["equation"].points.shape == (7, 1)
    assert (found["equation"].points * 10 % 1 - 0.5).abs().max() < 0.45  # none on the grid
    # The same network, with points that stand for the region.
    fair = where_missing(network, problem, problem.sample(residual=400, method="sobol", seed=3, **F64), dense=512)
    assert fair["equation"].ratio == pytest.approx(1, rel=0.05)
    assert fair["equation"].score_ratio == pytest.approx(1, rel=0.05)
    assert fair["ends"].ratio == pytest.approx(1, abs=1e-6)


def test_scores_are_squared_gradients_of_half_the_squared_error():
    problem = heat()
    network = mlp(problem)
    found = where_missing(network, problem, problem.sample(residual=20, **F64), dense=64, top=5)["equation"]
    assert (found.scores.diff() <= 0).all()
    for point, score in zip(found.points, found.scores, strict=True):
        half = pinntk.errors(network, problem, {"equation": point[None]})["equation"].square().sum() / 2
        gradient = torch.autograd.grad(half, list(network.parameters()), allow_unused=True, materialize_grads=True)
        assert sum(part.square().sum() for part in gradient).item() == pytest.approx(score.item(), rel=1e-10)


def test_measurements_have_no_fresh_points():
    @pinntk.data(LINE, [0.2, 0.4], seen=[1.0, 2.0])
    def sensors(u, seen):
        return u - seen

    problem = pinntk.Problem(LINE, [sensors])
    assert where_missing(mlp(problem), problem, problem.sample(**F64)) == {}


@pytest.mark.parametrize("wrong", [{"dense": 0}, {"top": 0}, {"dense": 2.5}])
def test_where_missing_checks_its_sizes(wrong):
    problem = poisson()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*whole number"):
        where_missing(mlp(problem), problem, problem.sample(), **wrong)


# causality


def test_a_network_right_late_and_wrong_early_is_told_from_one_in_order():
    problem = heat()
    points = problem.sample(residual=400, method="sobol", **F64)
    # relu(t - 1)^3 is wrong late, relu(1 - t)^3 early.
    causal, acausal = (causality(Solution(sign), problem, points, slices=4) for sign in (1.0, -1.0))
    assert causal.coordinate == "t"
    assert causal.edges == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert causal.counts["equation"].sum() == 400
    assert causal.disorder["equation"] < 0.2 and acausal.disorder["equation"] > 0.8
    assert causal.early_late["equation"] < 1e-6 and acausal.early_late["equation"] > 1e6
    assert causal.error[0] < 1e-12 < 1e-3 < causal.error[3]
    assert acausal.error[3] < 1e-12 < 1e-3 < acausal.error[0]
    assert acausal.diagonal["equation"][0] > 1e3 * acausal.diagonal["equation"][3]  # size is the only parameter


def test_slices_are_means_of_the_kernels_diagonal_and_of_squared_errors():
    problem = heat()
    network = mlp(problem)
    points = problem.sample(residual=50, **F64)
    found = causality(network, problem, points, slices=5)
    t = points["equation"][:, 0]
    inside = (t >= 0.8) & (t < 1.2)
    diagonal = pinntk.kernel(network, problem, {"equation": points["equation"]}).diagonal()
    error = pinntk.errors(network, problem, points)["equation"]
    assert found.diagonal["equation"][2] == pytest.approx(diagonal[inside].mean().item())
    assert found.mean_square["equation"][2] == pytest.approx(error[inside].square().mean().item())
    assert found.counts["equation"][2] == inside.sum()


def test_time_may_have_another_name_and_run_backward():
    domain = pinntk.Box(age=(0, 2), x=(-1, 1))
    backward = heat(domain, at=2.0)
    points = backward.sample(residual=60, **F64)
    found = causality(mlp(backward), backward, points, slices=4)
    assert found.coordinate == "age"
    assert found.edges == pytest.approx([2, 1.5, 1, 0.5, 0])
    ages = points["equation"][:, 0]
    assert found.counts["equation"][0] == (ages > 1.5).sum()


def test_no_time_no_causality_and_empty_slices_are_unknown():
    problem = poisson()
    assert causality(mlp(problem), problem, problem.sample(**F64)) is None
    problem = heat()
    assert causality(mlp(problem), problem, {"walls": problem.sample(**F64)["walls"]}) is None
    early = {"equation": torch.rand(40, 2, generator=torch.Generator().manual_seed(0), **F64)}  # t < 1 of 2
    found = causality(mlp(problem), problem, early, slices=4)
    assert np.isnan(found.mean_square["equation"][2:]).all()
    assert np.isnan(found.early_late["equation"])
    with pytest.raises(ValueError, match="slices=1"):
        causality(mlp(problem), problem, early, slices=1)


def test_arguments_in_the_wrong_order_are_named():
    problem = heat()
    for measure in (where_missing, causality):
        with pytest.raises(TypeError, match=r"\(network, problem, points\)"):
            measure(problem, mlp(problem), problem.sample())
