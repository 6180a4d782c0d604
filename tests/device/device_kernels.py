"""Points, errors, Jacobians and kernels on a device: equal to those on the CPU, and left where they were computed.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

import pytest
import torch

import pinntk
import pinntk.ntk
from pinntk.taylor import Basis
from tests.device.on_device import F64, NAME, TOLERANCE, covers, on_device, same, same_errors_and_kernel, there, twins
from tests.support import networks
from tests.support.examples import EXAMPLES
from tests.support.sweeps import pairs, sweep

pytestmark = pytest.mark.filterwarnings("ignore:.*(explicit|nested reverse-mode).*:UserWarning")


def example(name: str, network: str = "gated"):
    """A problem, the same network twice, points twice."""
    problem, points = EXAMPLES[name].load()
    here, away = (networks.build(network, problem.domain.dimension, len(problem.fields)) for _ in range(2))
    return problem, here, away.to(NAME), points, there(points)


@covers(pinntk.Problem)
@pytest.mark.parametrize("name", EXAMPLES)
def test_points_are_drawn_on_the_device_and_checked_there(name):
    problem, points = EXAMPLES[name].load()
    drawn = problem.sample(seed=1, device=NAME, **F64, **EXAMPLES[name].counts)
    same(drawn, points)
    checked = problem.check(drawn)
    assert on_device(checked)
    assert all(checked[name] is drawn[name] for name in drawn)


@covers(pinntk.periodic_fields, pinntk.complex_parts)
def test_conditions_that_come_several_at_a_time():
    box = pinntk.Box(t=(0, 1), x=(0, 1))

    @pinntk.complex_parts(pinntk.residual(box), h=("u", "v"))
    def schrodinger(h, h_t, h_xx):
        return 1j * h_t + h_xx / 2 + abs(h) ** 2 * h

    conditions = [*schrodinger, *pinntk.periodic_fields(box.ends("x"), 1, ("u", "v"))]
    problem = pinntk.Problem(box, conditions, ("u", "v"))
    points = problem.sample(residual=4, periodic=3, **F64)
    same_errors_and_kernel(problem, points)


@covers(pinntk.Box, pinntk.residual, pinntk.boundary, pinntk.initial, pinntk.periodic, pinntk.data)
def test_a_problem_takes_measurements_from_the_device():
    box = pinntk.Box(t=(0, 1), x=(0, 1))
    where, seen = torch.rand(4, 2, **F64), torch.rand(4, **F64)

    def problem(where, seen):
        @pinntk.residual(box)
        def heat(u_t, u_xx, kappa):
            return u_t - kappa * u_xx

        @pinntk.boundary(box.ends("x"))
        def walls(u_n):
            return u_n

        @pinntk.initial(box.at(t=0))
        def start(u, x):
            return u - torch.sin(x)

        @pinntk.periodic(box.ends("x"))
        def wrap(u):
            return u

        @pinntk.data(box, where, seen=seen)
        def sensors(u, seen):
            return u - seen

        conditions = [heat, walls, start, wrap, sensors]
        return pinntk.Problem(box, conditions, coefficients={"kappa": torch.tensor(0.3, device=where.device)})

    given, made = problem(where, seen), problem(where.to(NAME), seen.to(NAME))
    here, away = twins(given)
    points = given.sample(residual=5, boundary=3, initial=3, periodic=3, **F64)
    same(made.sample(residual=5, boundary=3, initial=3, periodic=3, **F64), points)
    found = pinntk.errors(away, made, points)
    assert on_device(found)
    same(found, pinntk.errors(here, given, points))


@covers(pinntk.errors)
@pytest.mark.parametrize(("name", "method"), pairs(EXAMPLES, ("taylor", "autograd"), each=1))
def test_errors(name, method):
    problem, here, away, points, moved = example(name)
    expected = pinntk.errors(here, problem, points, method)
    for given in (moved, points, {name: rows.numpy() for name, rows in points.items()}):
        found = pinntk.errors(away, problem, given, method)
        assert on_device(found)
        same(found, expected)


@covers(pinntk.Jet)
def test_jets():
    basis = Basis.spanning([(2, 1)], 2, [0, 1])
    x = torch.rand(4, 2, **F64)
    jets = [torch.tanh(pinntk.Jet.seed(basis, rows) @ torch.ones(2, 3).to(rows)) for rows in (x.to(NAME), x)]
    assert on_device([jets[0].value, jets[0].new_zeros(2)])
    assert jets[0].device.type == NAME
    for read in (lambda jet: jet.derivative((2, 1)), lambda jet: jet.laplacian((0, 1)), lambda jet: jet.value):
        same(*map(read, jets))


@covers(pinntk.kernel, pinntk.traces, pinntk.factors, pinntk.Factors, pinntk.trained_parameters)
@pytest.mark.parametrize("network", sweep([*networks.NETWORKS, *networks.WITHOUT_RULE], "plain", "gated", "constrained", "fft"))
def test_kernels_of_every_network(network):
    problem, here, away, points, moved = example("inverse", network)
    blocks, expected = pinntk.kernel(away, problem, moved), pinntk.kernel(here, problem, points)
    assert on_device(blocks)
    same(blocks, expected)
    same(pinntk.traces(away, problem, points), expected.traces())
    same(pinntk.kernel(here, problem, points, device=NAME).values, expected.values)
    assert next(here.parameters()).device.type == "cpu"
    assert list(pinntk.trained_parameters(away, problem)) == list(pinntk.trained_parameters(here, problem))
    if network not in networks.WITHOUT_RULE:
        found, factored = pinntk.factors(away, problem, moved), pinntk.factors(here, problem, points)
        assert on_device(found)
        assert all(isinstance(part, pinntk.Factors) and part.device.type == NAME for part in found.values())
        same({name: part.matrix() for name, part in found.items()}, {name: part.matrix() for name, part in factored.items()})


@covers(pinntk.graph_factors, pinntk.Origin, pinntk.errors_of_loss, pinntk.LossTerm, pinntk.LossError)
def test_errors_from_code_of_ones_own():
    _, here, away, points, moved = example("poisson", "plain")
    found = []
    for network, x in ((here, points["equation"]), (away, moved["equation"])):
        x = x.clone().requires_grad_()
        u = network(x)
        e = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0] * u - torch.sin(x)
        (term,) = pinntk.errors_of_loss(3 * e.square().mean())
        assert isinstance(term, pinntk.LossTerm)
        with pytest.raises(pinntk.LossError):
            pinntk.errors_of_loss(e.abs().mean())
        order = torch.arange(len(x) - 1, -1, -1, device=x.device)
        factored = [pinntk.graph_factors(term.errors, network), pinntk.graph_factors(e[order], network, rows=order)]
        assert all(isinstance(part.origin, pinntk.Origin) and part.origin.path == "graph" for part in factored)
        found.append([part.matrix() for part in factored])
    assert on_device(found[1])
    same(found[1], found[0])


@covers(pinntk.cross_kernel, pinntk.sharded_kernel, pinntk.ntk.RowBlock, pinntk.ntk.gram, pinntk.ntk.Outer)
def test_blocks_of_rows(tmp_path):
    problem, here, away, points, moved = example("stokes", "plain")
    few = {name: rows[:2] for name, rows in points.items()}
    found = pinntk.cross_kernel(away, problem, few, moved)
    assert on_device(found)
    same(found, pinntk.cross_kernel(here, problem, few, points))
    block = pinntk.sharded_kernel(away, problem, moved)
    assert isinstance(block, pinntk.ntk.RowBlock) and on_device(block)
    expected = pinntk.kernel(here, problem, points)
    same(block.values, expected.values)
    same(pinntk.KernelBlocks.join([block.save(tmp_path / "rows")]).values, expected.values)
    tiny = pinntk.kernel(away, problem, moved, max_memory=1, dtype=torch.float32)
    assert on_device(tiny)
    same(tiny.values.double(), expected.values, 1e-5)
    part = pinntk.factors(away, problem, moved)["momentum_y"]
    outer = next(iter(part.outers.values()))
    assert isinstance(outer, pinntk.ntk.Outer) and on_device(outer.rows(1, 3))
    same(pinntk.ntk.gram(part, part), expected["momentum_y"])


@covers(pinntk.KernelBlocks)
def test_what_is_read_off_a_kernel(tmp_path):
    problem, here, away, points, moved = example("burgers")
    blocks, expected = pinntk.kernel(away, problem, moved), pinntk.kernel(here, problem, points)
    weights = {name: 1.0 + i for i, name in enumerate(points)}
    pointwise = {**weights, "start": torch.linspace(0, 1, 3, **F64)}
    for read in (
        lambda K: [K.matrix(), K["equation"], K["equation", "start"], K.uu, K.ur, K.rr, K.diagonal(), K.diagonal("start")],
        lambda K: K.matrix(weights),
        lambda K: K.matrix({**pointwise, "start": pointwise["start"].to(K.values.device)}),
    ):
        assert on_device(read(blocks))
        same(read(blocks), read(expected))
    for read in (lambda K: K.eigvalsh(), lambda K: K.eigvalsh(pointwise), lambda K: K.eigh(weights)[0]):
        assert on_device(read(blocks))
        same(read(blocks), read(expected))
    values, vectors = blocks.eigh()
    same((vectors * values) @ vectors.T, expected.values, 10 * TOLERANCE)
    for read in (lambda K: K.trace(), lambda K: K.traces(), lambda K: K.floor(weights), lambda K: K.numpy()):
        same(read(blocks), read(expected))
    assert NAME in repr(blocks)
    assert "svg" in (page := blocks._repr_html_()) and NAME in page
    found = pinntk.factors(away, problem, moved)["start"]
    assert NAME in repr(found) and NAME in found._repr_html_()
    blocks.save(tmp_path / "K.npz")
    again = pinntk.KernelBlocks.load(tmp_path / "K.npz")
    assert again.values.device.type == "cpu"
    same(again, expected)


@covers(pinntk.ntk.leading_eigenvalues, pinntk.ntk.LeadingEigenvalues, pinntk.ntk.Forecast)
def test_leading_eigenvalues(tmp_path):
    problem, here, away, points, moved = example("burgers")
    told = []
    found = pinntk.ntk.leading_eigenvalues(away, problem, moved, 2, checkpoint=tmp_path / "kept", announce=told.append)
    expected = pinntk.ntk.leading_eigenvalues(here, problem, points, 2)
    assert isinstance(found, pinntk.ntk.LeadingEigenvalues) and isinstance(told[0], pinntk.ntk.Forecast)
    assert on_device([found.values, found.bounds, found.directions])
    same(found.values, expected.values)
    same(found.traces, expected.traces)


@covers(pinntk.KernelOperator, pinntk.ntk.JacobianOperator)
def test_the_operator():
    problem, here, away, points, moved = example("inverse", "plain")
    weights = {name: 1.0 + i for i, name in enumerate(points)} | {"sensors": torch.tensor([1.0, 0.5, 2.0], **F64)}
    pair = ((away, moved), (here, points))
    found, expected = (pinntk.KernelOperator(net, problem, given, weights=weights) for net, given in pair)
    v, W = torch.linspace(-1, 1, expected.n, **F64), torch.linspace(-1, 1, 2 * expected.p, **F64).reshape(-1, 2)
    for call in (
        lambda K, v: K.matvec(v),
        lambda K, v: K.jacobian.rmatvec(v),
        lambda K, v: K.jacobian.matmat(W.to(v.device)),
        lambda K, v: K.jacobian.normal_matmat(W.to(v.device)),
        lambda K, v: K.solve(v, 10.0, rank=3).x,
        lambda K, v: K.select("sensors").matvec(v[:3]),
    ):
        for given in (v, v.to(NAME)):  # operands are brought to the operator's device
            answer = call(found, given)
            assert on_device(answer)
            same(answer, call(expected, v), 1e-9)
    for call in (
        lambda K: K.diagonal(),
        lambda K: K.eigh(1, tolerance=1e-4).values,
        lambda K: K.spectral_density(probes=2, steps=3),
        lambda K: K.solve(v, 10.0, rank=0).x,
    ):
        answer = call(found)
        assert on_device(answer)
        same(answer, call(expected), 1e-9)
    assert isinstance(found.jacobian, pinntk.ntk.JacobianOperator)
    same(found.trace(), expected.trace())
    estimates = [torch.tensor(K.trace_of(torch.square, probes=2, steps=3), **F64) for K in (found, expected)]
    same(*estimates)
    same(found.to_scipy() @ v.numpy(), expected.to_scipy() @ v.numpy())
    assert isinstance(found.jacobian, pinntk.ntk.JacobianOperator)
    assert NAME in repr(found) and NAME in repr(found.jacobian)


def test_a_condition_that_depends_on_no_parameter():
    box = pinntk.Box(x=(0, 1))

    @pinntk.residual(box)
    def given(x):
        return x - 0.5

    @pinntk.boundary(box.ends("x"))
    def ends(u):
        return u

    problem = pinntk.Problem(box, [given, ends])
    here, away = twins(problem)
    points = problem.sample(residual=4, boundary=2, **F64)
    noise = {"given": 1.0, "ends": 1.0}
    for call in (
        lambda network: pinntk.kernel(network, problem, points).values,
        lambda network: pinntk.KernelOperator(network, problem, points).diagonal(),
        lambda network: {name: part.matrix() for name, part in pinntk.factors(network, problem, points).items()},
        lambda network: pinntk.solvers.ScaledJacobian(network, problem, points, noise).matrix,
        lambda network: pinntk.solvers.ScaledJacobian(network, problem, points, noise).kernel(),
    ):
        found = call(away)
        assert on_device(found)
        same(found, call(here))
    x = points["given"]
    same(*(pinntk.posterior(network, problem, points, noise).field(x) for network in (away, here)), 1e-9)


@covers(pinntk.ntk.function_kernel)
def test_kernel_of_a_function():
    here, away = (networks.build("gated", 2, 2).to(place) for place in ("cpu", NAME))
    x, y = torch.rand(4, 2, **F64), torch.rand(3, 2, **F64)
    for given in ((x,), (x, y)):
        found = pinntk.ntk.function_kernel(away, *given)
        assert on_device(found)
        same(found, pinntk.ntk.function_kernel(here, *given))


@covers(pinntk.mean_kernel, pinntk.MeanKernel)
def test_means_over_initializations():
    problem, points = EXAMPLES["poisson"].load()

    def draw(place):
        return lambda seed: pinntk.nn.MLP(problem, width=5, depth=1, seed=seed, device=place, **F64)

    expected = pinntk.mean_kernel(draw("cpu"), problem, points, range(3))
    for wanted in (expected.mean.values, expected.mean.values.to(NAME)):
        found = pinntk.mean_kernel(draw(NAME), problem, points, range(3), expected=wanted)
        assert isinstance(found, pinntk.MeanKernel) and on_device([found.mean.values, found.std, found.standard_error])
        same([found.mean, found.std, found.spread], [expected.mean, expected.std, expected.spread])
        same(found.scores(wanted), expected.scores(expected.mean.values), 1e-6, size=1.0)


@covers(pinntk.InfiniteMLP, pinntk.infinite_kernel, pinntk.infinite_cross_kernel)
@pytest.mark.parametrize(
    ("kind", "activation"), [pytest.param("ntk", "tanh", marks=pytest.mark.slow), ("ntk", "relu"), ("nngp", "sin")]
)
def test_infinite_width(kind, activation):
    """By quadrature and by closed forms."""
    problem, here, away, points, moved = example("inverse")
    names = ["sensors"] if activation == "relu" else list(points)
    few, far = ({name: rows[name][:2] for name in names} for rows in (points, moved))
    mlp, its_twin = twins(problem, width=4, depth=1, parametrization="ntk", activation=activation)
    for network, other in ((its_twin, mlp), 2 * (pinntk.InfiniteMLP(activation=activation),)):
        found = pinntk.infinite_kernel(network, problem, far, kind=kind, at=away)
        assert on_device(found.values)
        same(found, pinntk.infinite_kernel(other, problem, few, kind=kind, at=here))
        cross = pinntk.infinite_cross_kernel(network, problem, far, far, kind=kind, at=away)
        assert on_device(cross)
        same(cross, pinntk.infinite_cross_kernel(other, problem, few, few, kind=kind, at=here))


@covers(pinntk.collocate, pinntk.Collocation, pinntk.infinite_ensemble, pinntk.InfiniteEnsemble)
def test_what_infinite_width_converges_to():
    problem = pinntk.load("poisson1d", k=1)
    points = problem.sample(residual=4, boundary=2, **F64)
    here, away = twins(problem, width=4, depth=1, parametrization="ntk", activation="sin")
    x = torch.linspace(0, 1, 3, **F64).unsqueeze(1)
    expected, found = (pinntk.collocate(net, problem, points, noise=1e-3) for net in (here, away))
    assert isinstance(found, pinntk.Collocation)
    for given in (x.to(NAME), x.numpy()):
        same([found.mean(given), found.std(given)], [expected.mean(x), expected.std(x)], 1e-9)
    expected, found = (pinntk.infinite_ensemble(net, problem, points) for net in (here, away))
    assert isinstance(found, pinntk.InfiniteEnsemble)
    for given in (x.to(NAME), x.numpy()):
        same([found.mean(given, 0.1), found.std(given, 0.1)], [expected.mean(x, 0.1), expected.std(x, 0.1)], 1e-9)
    same(found.covariance(x, 0.1), expected.covariance(x, 0.1), 1e-9)
    for name in ("mean_after", "std_after", "covariance_after"):
        same(getattr(found, name)(x.to(NAME), 5, 1e-3), getattr(expected, name)(x, 5, 1e-3), 1e-9)


@covers(pinntk.posterior, pinntk.Posterior)
@pytest.mark.parametrize("form", sweep(("kernel", "parameters"), "kernel"))
def test_posterior(form):
    problem, here, away, points, moved = example("inverse")
    noise = {"heat": 0.1, "sensors": 0.05}
    found, expected = (
        pinntk.posterior(net, problem, given, noise, form=form) for net, given in ((away, moved), (here, points))
    )
    assert isinstance(found, pinntk.Posterior)
    same(found.coefficients, expected.coefficients)
    same(found.covariance, expected.covariance)
    same(found.interval("nu"), expected.interval("nu"))
    x = points["heat"]
    same(found.field(x.to(NAME)), expected.field(x), 1e-9)
    same(found.field(x), expected.field(x), 1e-9)


def test_an_exact_solution_with_numbers_among_its_fields():
    box = pinntk.Box(x=(0, 1))

    @pinntk.residual(box)
    def equation(u, v, x):
        return u + v - x

    constant = torch.tensor(2.0, **F64)
    problem = pinntk.Problem(box, [equation], ("u", "v", "w"), exact=lambda x: (torch.sin(x), 0.5, constant))
    x = torch.linspace(0, 1, 4, **F64).unsqueeze(1)
    found = problem.exact_values(x.to(NAME))
    assert on_device(found)
    same(found, problem.exact_values(x))
    here, away = twins(problem)
    same(problem.relative_error(away), problem.relative_error(here))


@covers(pinntk.load, pinntk.available)
@pytest.mark.parametrize("name", sweep(pinntk.available(), "heat_inverse", "kovasznay", "schrodinger", "poisson_lshape"))
def test_every_registered_problem(name):
    problem = pinntk.load(name)
    here, away = twins(problem, width=4, depth=1)
    points = problem.sample(residual=4, boundary=3, initial=3, periodic=2, **F64)
    blocks = pinntk.kernel(away, problem, points)
    assert on_device(blocks.values)
    same(blocks.values, pinntk.kernel(here, problem, points).values)
    rows = torch.as_tensor(problem.domain.grid((2,) * problem.domain.dimension))
    if problem.exact is not None:
        exact = problem.exact_values(rows.to(NAME))
        assert on_device(exact)
        same(exact, problem.exact_values(rows), size=1.0)
    same(problem.relative_error(away), problem.relative_error(here), 1e-11)
    if len(problem.fields) > 1:
        same(problem.relative_error_by_field(away), problem.relative_error_by_field(here), 1e-11)
    same(problem.predict(away, rows.numpy()), problem.predict(here, rows.numpy()))
