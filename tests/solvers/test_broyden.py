"""The self-scaled Broyden class: its update against the formula, its minima, and its place in `pinntk.train`."""

import warnings
from itertools import pairwise

import pytest
import scipy.optimize
import torch

import pinntk
from pinntk.solvers import SelfScaledBroyden
from pinntk.solvers._broyden import VARIANTS, scaling, update
from pinntk.training._optimizers import optimizers
from pinntk.weighting import NTK, Fixed
from tests.training.test_trainer import same_parameters


def closure_of(optimizer, function, x):
    def closure():
        optimizer.zero_grad()
        closure.calls += 1
        loss = function(x)
        loss.backward()
        return loss.detach()

    closure.calls = 0
    return closure


def minimize(function, start, steps, **settings):
    """(x, losses before each step, optimizer), stopping where the optimizer stalls."""
    x = start.clone().requires_grad_()
    optimizer = SelfScaledBroyden([x], **settings)
    closure, losses = closure_of(optimizer, function, x), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "SelfScaledBroyden: no step lowers")
        for _ in range(steps):
            losses.append(float(optimizer.step(closure)))
            if optimizer.stalled:
                break
    return x.detach(), losses, optimizer


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def ill_scaled(x):
    """A quartic whose curvatures span eight orders of magnitude, none of them along the axes."""
    p = len(x)
    Q = torch.linalg.qr(torch.randn(p, p, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    quadratic = (torch.logspace(-8, 0, p, dtype=torch.float64) * (Q.T @ x) ** 2).sum()
    return quadratic / 2 + quadratic**2 / 4


def random_update(p=137, seed=0, scale=1.0):
    """H, s and y with y^T s > 0, and B = H^-1."""
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn(p, p, dtype=torch.float64, generator=generator)
    H = C @ C.T / p + 0.1 * torch.eye(p, dtype=torch.float64)
    H = (H + H.T) / 2
    s, y = torch.randn(2, p, dtype=torch.float64, generator=generator)
    y = scale * (y if y.dot(s) > 0 else -y)
    return H, s, y, torch.linalg.inv(H)


def published(H, s, y, B, variant):
    """The update as Urban, Stefanou & Pons print it, with every outer product formed."""
    ys, Hy = y @ s, H @ y
    b, h = s @ B @ s / ys, y @ Hy / ys
    tau, phi = torch.ones(2, dtype=torch.float64)
    if variant == "ssbfgs":
        tau = torch.clamp(1 / b, max=1)
    if variant == "ssbroyden":
        a = h * b - 1
        c = torch.sqrt(a / (1 + a))
        rho_minus = torch.clamp(h * (1 - c), max=1)
        theta = torch.maximum((rho_minus - 1) / a, torch.minimum(1 / rho_minus, (1 - b) / b))
        sigma, rho = 1 + theta * a, torch.clamp(1 / b, max=1)
        root = sigma ** (1 / (1 - len(s)))
        tau = torch.minimum(rho * root, sigma) if theta <= 0 else rho * torch.minimum(root, 1 / theta)
        phi = (1 - theta) / (1 + a * theta)
    v = torch.sqrt(y @ Hy) * (s / ys - Hy / (y @ Hy))
    return (H - torch.outer(Hy, Hy) / (y @ Hy) + phi * torch.outer(v, v)) / tau + torch.outer(s, s) / ys


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("p", [2, 5, 137, 300])
def test_the_update_is_the_published_one(variant, scale, p):
    H, s, y, B = random_update(p, seed=p, scale=scale)
    expected = published(H, s, y, B, variant)
    update(H, s, y, float(s @ B @ s / (y @ s)), variant)
    assert (H - expected).norm() < 1e-11 * expected.norm()
    assert torch.equal(H, H.T)
    assert (H @ y - s).norm() < 1e-13 * H.norm() * y.norm()
    assert torch.linalg.eigvalsh(H)[0] > 0


def test_bfgs_is_that_of_scipy():
    _, s, y, _ = random_update()
    oracle = scipy.optimize.BFGS(exception_strategy="skip_update", init_scale=1.0)
    oracle.initialize(len(s), "inv_hess")
    update(inverse := torch.eye(len(s), dtype=torch.float64), s, y, float(s @ s / (y @ s)), "bfgs")
    oracle.update(s.numpy(), y.numpy())
    expected = torch.from_numpy(oracle.get_matrix())
    assert (inverse - expected).norm() < 1e-12 * expected.norm()


@pytest.mark.parametrize(("b", "h"), [(1e-12, 1e13), (1e12, 1e13), (1.0, 1.0), (0.3, 1 / 0.3), (1e8, 1e-8), (1e200, 1e100)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_scaling_stays_finite_at_its_limits(variant, b, h):
    for p in (1, 2, 1000):
        tau, phi = scaling(b, h, p, variant)
        assert 0 < tau <= 1
        assert abs(phi) < float("inf")


@pytest.mark.parametrize("variant", VARIANTS)
def test_rosenbrock(variant):
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    x, losses, _ = minimize(rosenbrock, start, 60, variant=variant)
    assert (x - 1).abs().max() < 1e-10
    found = scipy.optimize.minimize(scipy.optimize.rosen, start.numpy(), jac=scipy.optimize.rosen_der, method="BFGS")
    assert len(losses) <= 1.5 * found.nit


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_keeps_h_symmetric_positive_definite_and_secant(variant):
    x = torch.linspace(-1, 2, 10, dtype=torch.float64).requires_grad_()
    optimizer = SelfScaledBroyden([x], variant=variant)
    closure = closure_of(optimizer, rosenbrock, x)

    def gradient():
        return torch.autograd.grad(rosenbrock(x), x)[0]

    for _ in range(40):
        x0, g0 = x.detach().clone(), gradient()
        before = optimizer.step(closure)
        assert rosenbrock(x) < before
        H, s, y = optimizer.inverse_hessian, x.detach() - x0, gradient() - g0
        assert (H @ y - s).norm() < 1e-9 * s.norm()
        assert torch.equal(H, H.T)
        torch.linalg.cholesky(H)


def test_self_scaling_beats_bfgs_where_scales_differ():
    start = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    last = {variant: minimize(ill_scaled, start, 150, variant=variant)[1][-1] for variant in VARIANTS}
    assert last["ssbroyden"] < 1e-6 * last["bfgs"]
    assert last["ssbfgs"] < 1e-2 * last["bfgs"]


def test_several_iterations_a_step_are_the_same_path_in_fewer_evaluations():
    results, calls = [], []
    for steps, iterations in ((30, 1), (3, 10)):
        x = torch.full((6,), -1.0, dtype=torch.float64).requires_grad_()
        optimizer = SelfScaledBroyden([x], iterations=iterations)
        closure = closure_of(optimizer, rosenbrock, x)
        for _ in range(steps):
            optimizer.step(closure)
        results.append(x.detach())
        calls.append(closure.calls)
    assert torch.equal(*results)
    assert calls[1] == calls[0] - 27


def test_a_loss_that_is_not_finite_is_a_step_too_long():
    seen = []

    def barrier(x):
        seen.append((x - torch.log(x)).sum() + 100 * (x[0] - x[1]) ** 2)
        return seen[-1]

    start = torch.tensor([0.6, 0.1], dtype=torch.float64)
    first, _, _ = minimize(barrier, start, 1)
    assert barrier(first) < 0.2 * barrier(start)
    assert len(seen) == 5  # the start, NaN, a quarter of that step; and the two above
    x, losses, _ = minimize(barrier, start, 50)
    assert any(torch.isnan(loss) for loss in seen)
    assert all(b < a for a, b in pairwise(losses))
    assert (x - 1).abs().max() < 1e-7


def test_a_failed_search_starts_again_from_the_identity():
    """H of another function points uphill or nowhere: it is forgotten, once, and the step succeeds."""
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = SelfScaledBroyden([x])
    closure = closure_of(optimizer, rosenbrock, x)
    for _ in range(5):
        optimizer.step(closure)
    optimizer.inverse_hessian.neg_()
    before = optimizer.step(closure)
    assert rosenbrock(x) < before
    assert not optimizer.stalled
    torch.linalg.cholesky(optimizer.inverse_hessian)


def test_where_nothing_helps_the_parameters_stay_and_a_warning_says_so():
    x = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    optimizer = SelfScaledBroyden([x])
    falling = closure_of(optimizer, lambda x: (x**2).sum(), x)
    for _ in range(2):
        optimizer.step(falling)
    start = x.detach().clone() + 1e-3
    with torch.no_grad():
        x.copy_(start)
    wrong = closure_of(optimizer, lambda x: (x**2).sum(), x)

    def lying():
        loss = wrong()
        x.grad.neg_()
        return loss

    with pytest.warns(UserWarning, match="no step lowers the loss of .* The parameters stay"):
        optimizer.step(lying)
    assert optimizer.stalled
    assert torch.equal(x.detach(), start)
    calls = wrong.calls
    optimizer.step(lying)  # the same loss: not searched again
    assert wrong.calls == calls + 1
    optimizer.step(closure_of(optimizer, lambda x: (x**2).sum() + x[0], x))
    assert not optimizer.stalled


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SelfScaledBroyden([torch.zeros(2)], variant="dfp"), "variant='dfp' is unknown; use one of ssbroyden"),
        (lambda: SelfScaledBroyden([torch.zeros(2)], iterations=0), "iterations=0"),
        (
            lambda: SelfScaledBroyden([torch.zeros(200, 100), torch.zeros(1)]),
            "20001 parameters need an inverse Hessian of 3 GiB, 20001 x 20001; use LBFGS",
        ),
        (lambda: SelfScaledBroyden([{"params": [torch.zeros(2)]}, {"params": [torch.zeros(1)]}]), "2 parameter groups"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# In training.


def train(optimizer="ssbroyden", steps=12, *, dtype=torch.float64, width=10, weighting=None, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=width, depth=2, dtype=dtype)
    settings = {"points": {"residual": 100, "boundary": 2}, "progress": False, "snapshot_every": 0, **settings}
    return pinntk.train(problem, network, steps=steps, optimizer=optimizer, weighting=weighting or Fixed(ends=100), **settings)


@pytest.mark.slow
def test_poisson_to_a_much_lower_loss_than_adam():
    run = train(steps=20, optimizer_options={"iterations": 15})
    adam = train("adam", steps=400, lr=1e-2)  # about as many gradient evaluations
    assert run.history[-1]["loss"] < 1e-4 * adam.history[-1]["loss"]
    assert run.relative_error < 0.02


def test_float32_parameters_have_an_inverse_hessian_in_float64():
    run = train(steps=25, dtype=torch.float32, optimizer_options={"iterations": 10})
    assert run.history[-1]["loss"] < 1e-2 * run.history[0]["loss"]
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = SelfScaledBroyden([p])
    optimizer.step(closure_of(optimizer, rosenbrock, p))
    other = SelfScaledBroyden([torch.nn.Parameter(p.detach().clone())])
    other.load_state_dict(optimizer.state_dict())
    assert other.inverse_hessian.dtype == torch.float64
    assert torch.equal(other.inverse_hessian, optimizer.inverse_hessian)
    assert other.inverse_hessian.data_ptr() != optimizer.inverse_hessian.data_ptr()


@pytest.mark.parametrize(
    "settings",
    [
        {"resample": 3, "weighting": NTK(every=4, momentum=0.5), "optimizer_options": {"variant": "ssbfgs"}},
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in ({}, {"dtype": torch.float32}, {"optimizer_options": {"variant": "bfgs", "iterations": 3}})
        ),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path, settings):
    whole = train(out=tmp_path / "whole", **settings)
    train(out=tmp_path / "parts", steps=5, **settings)
    assert same_parameters(whole, train(out=tmp_path / "parts", resume=True, **settings))


def test_it_is_known_by_name_and_takes_no_learning_rate():
    assert "ssbroyden" in optimizers()
    with pytest.raises(ValueError, match=r"optimizer 'ssbroyden' with \{'lr': 0.1\}"):
        train(lr=0.1)
    with pytest.raises(ValueError, match="variant='dfp' is unknown"):
        train(optimizer_options={"variant": "dfp"})
