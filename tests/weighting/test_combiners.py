"""ConFIG, PCGrad and UPGrad: what their papers prove of them, and trainings with them."""

import importlib.util
from itertools import product

import pytest
import torch
from scipy.optimize import nnls

import pinntk
from pinntk.weighting import ConFIG, Fixed, PCGrad, UPGrad

F64 = {"dtype": torch.float64}


def gradients(m, p=12, seed=0, sizes=0.0):
    """(m, p), in conflict, with lengths over so many orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(m, p, generator=generator, **F64)
    rows[1] = rows[1] - 1.5 * rows[0]
    return rows * 10 ** (sizes * torch.rand(m, 1, generator=generator, **F64))


CASES = [gradients(m, seed=seed, sizes=sizes) for seed, (m, sizes) in enumerate([(2, 0.0), (3, 6.0), (5, 0.0), (5, 8.0)])]


@pytest.mark.parametrize("rows", CASES)
def test_config_projects_equally_on_all_gradients(rows):
    """Equation 2 and its theorem: u_i . g is the same positive number, and g as long as all projections on it."""
    found = ConFIG().combine(rows)
    units = rows / rows.norm(dim=1, keepdim=True)
    along = units @ found
    assert (rows[0] @ rows[1]) < 0
    assert float(along.min()) > 0
    assert torch.allclose(along, along.mean().expand(len(rows)), rtol=1e-8)
    assert float(found.norm()) == pytest.approx(float((rows @ found).sum() / found.norm()), rel=1e-10)
    assert torch.allclose(ConFIG().combine(7 * rows), 7 * found)


@pytest.mark.parametrize("rows", CASES)
def test_upgrad_is_against_no_gradient_and_each_part_is_the_nearest_such(rows):
    """The nearest v with G v >= 0 to g is g + G^T w, with the w >= 0 that makes it shortest (Moreau)."""
    found = UPGrad().combine(rows)
    assert float((rows @ found / rows.norm(dim=1) / found.norm()).min()) > -1e-6
    units = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    expected = torch.zeros(rows.shape[1], **F64)
    for row in rows:
        w, _ = nnls(units.T, -(row / row.norm()).numpy())
        expected += row + row.norm() * torch.from_numpy(w @ units)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.norm()))
    assert torch.allclose(UPGrad().combine(7 * rows), 7 * found, rtol=1e-6)
    assert torch.allclose(UPGrad().combine(rows.flip(0)), found, rtol=1e-6, atol=1e-9 * float(found.norm()))
    assert not torch.allclose(found, ConFIG().combine(rows), rtol=1e-2)


def test_upgrad_of_two_is_known():
    """Of two vectors in conflict, the cone's nearest point to g_i is g_i less its part along the other one."""
    rows = gradients(2)
    a, b = rows
    expected = (a - (a @ b) / (b @ b) * b) + (b - (a @ b) / (a @ a) * a)
    assert torch.allclose(UPGrad().combine(rows), expected, rtol=1e-7)
    assert torch.allclose(PCGrad().combine(rows), expected, rtol=1e-12)  # and so does PCGrad, whose order then does not matter


def test_pcgrad_of_three_is_algorithm_1_in_one_of_its_orders():
    rows = torch.tensor([[1.0, 0.0, 0.3], [-5.0, 9.0, 1.0], [-0.06, -0.08, 0.02]], **F64)
    assert all(rows[i] @ rows[j] < 0 for i, j in ((0, 1), (0, 2), (1, 2)))

    def less(i, order):
        g = rows[i]
        for j in order:
            g = g - min(g @ rows[j], 0) / (rows[j] @ rows[j]) * rows[j]
        return g

    others = [[j for j in range(3) if j != i] for i in range(3)]
    sums = [
        sum(less(i, pair[::step]) for i, pair, step in zip(range(3), others, steps, strict=True))
        for steps in product((1, -1), repeat=3)
    ]
    found = [PCGrad().combine(rows, seed) for seed in range(12)]
    matches = [[torch.allclose(one, expected, rtol=1e-10) for expected in sums] for one in found]
    assert all(map(any, matches))
    assert len({row.index(True) for row in matches}) > 1


def test_pcgrad_draws_by_its_seed_and_leaves_torch_alone():
    rows = gradients(5, p=3)
    before = torch.random.get_rng_state()
    found = [PCGrad().combine(rows, seed) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert any(not torch.allclose(found[0], other) for other in found[2:])


@pytest.mark.parametrize("scheme", [ConFIG(), PCGrad(), UPGrad()])
def test_gradients_that_are_zero_alike_or_not_finite(scheme):
    one, zero = torch.tensor([3.0, 4.0], **F64), torch.zeros(2, **F64)
    assert torch.equal(scheme.combine(torch.stack([zero, one, zero])), one)
    assert torch.equal(scheme.combine(torch.stack([zero, zero])), zero)
    assert torch.allclose(scheme.combine(torch.stack([one, one])), 2 * one)
    assert scheme.combine(torch.stack([one, one * float("nan")])).isnan().all()
    assert float(scheme.combine(torch.stack([one, -one])).norm()) < 1e-9  # no step serves both
    assert scheme.combine(torch.stack([one, zero]).float()).dtype == torch.float64


@pytest.mark.parametrize("scheme", [PCGrad(), UPGrad()])
def test_without_a_conflict_it_is_the_gradient_of_the_loss(scheme):
    rows = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), **F64)
    assert torch.allclose(scheme.combine(rows), rows.sum(0), rtol=1e-7)


@pytest.mark.parametrize("name", ["config", "pcgrad", "upgrad"])
def test_without_torchjd_a_line_says_how_to_get_it(monkeypatch, name):
    real = importlib.util.find_spec
    monkeypatch.setattr("pinntk.weighting._combiner.find_spec", lambda asked: None if asked == "torchjd" else real(asked))
    with pytest.raises(ImportError, match=rf"weighting='{name}' works by TorchJD.*pip install \"pinntk\[combiners\]\""):
        pinntk.TrainConfig(weighting=name)


# In a training.


def sized():
    """With a coefficient that the optimizer moves in steps of its own size, and a condition that no parameter reaches."""
    box = pinntk.Box(x=(0, 1))

    @pinntk.residual(box)
    def inside(u_xx, A):
        return u_xx + A / 1e4

    @pinntk.boundary(box.ends("x"))
    def ends(u):
        return u

    return pinntk.Problem(box, [inside, ends], coefficients={"A": 2e4})


def train(out=None, *, weighting, steps=4, problem=None, **settings):
    problem = problem or pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    points = dict.fromkeys(problem.names, 6)
    few = {"points": points, "lr": 0.05, "snapshot_every": 0, "progress": False, "schedule": "constant", "log_every": 1}
    return pinntk.train(problem, network, weighting=weighting, steps=steps, out=out, **{**few, **settings})


@pytest.mark.parametrize("scheme", [ConFIG(), PCGrad(), UPGrad()])
def test_training_is_the_loop_written_by_hand(scheme):
    run = train(weighting=[Fixed(walls=5.0), scheme], optimizer="gradient-descent")
    problem = pinntk.load("burgers")
    network, losses = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64), []
    for step in range(4):
        e = pinntk.errors(network, problem, run.points, "autograd")
        terms = [(5.0 if name == "walls" else 1.0) * e[name].square().mean() for name in e]
        losses.append(sum(term.item() for term in terms))
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(term, list(network.parameters()), retain_graph=True)])
            for term in terms
        ]
        step_of = scheme.combine(torch.stack(rows), seed=step)
        with torch.no_grad():
            for p, part in zip(network.parameters(), step_of.split([p.numel() for p in network.parameters()]), strict=True):
                p -= 0.05 * part.view_as(p)
    assert run.column("loss")[1][:4] == pytest.approx(losses, rel=1e-9)
    for p, q in zip(run.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-7, atol=1e-9)


def test_a_coefficient_counts_in_its_own_size():
    """Gradients are combined in what the optimizer moves, A / 2^14, and not in A, whose gradient is next to nothing."""
    run = train(
        weighting="config", problem=sized(), optimizer="gradient-descent", steps=1, coefficient_scales={"A": 2e4}, lr=0.1
    )
    moved = run.problem.coefficients["A"].item() - 2e4
    assert abs(moved) > 1.0
    assert run.step == 1


def test_loss_weights_do_not_turn_configs_direction():
    runs = [train(weighting=w, optimizer="gradient-descent", steps=1, lr=1e-6) for w in ("config", "ntk+config")]
    start = pinntk.nn.MLP(runs[0].problem, width=4, depth=1, dtype=torch.float64)
    one, two = (
        torch.cat([(p - q).detach().flatten() for p, q in zip(run.network.parameters(), start.parameters(), strict=True)])
        for run in runs
    )
    assert float(one @ two / one.norm() / two.norm()) == pytest.approx(1, abs=1e-7)
    assert float(two.norm() / one.norm()) != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lbfgs"}, "config makes one gradient a step, of no loss, and lbfgs compares losses"),
        ({"optimizer": "ssbroyden"}, "and ssbroyden compares losses along a step; use an optimizer such as adam"),
        ({"optimizer": "gauss-newton", "lr": None, "schedule": None}, "and gauss-newton compares losses"),
        ({"optimizer": torch.optim.LBFGS}, "compares losses along a step"),
        ({"optimizer": lambda p: torch.optim.LBFGS(p), "lr": None}, "and LBFGS compares losses along a step"),
        ({"weighting": ["config", "pcgrad"]}, "'config' and 'pcgrad' both act on gradients"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**{"weighting": "config", **settings})
