"""The rule for torch's thread count: what it chooses, and what it leaves alone."""

import threading as python_threads

import pytest
import torch

import pinntk
from pinntk._util import threads
from pinntk._util.threads import ENOUGH, of_cross_kernel, of_factorization, of_kernel, of_step, threads_for, with_threads_for
from tests.support.sweeps import sweep


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """As on a machine of two cores whose user has set nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "_DEFAULT", 2)
    yield
    torch.set_num_threads(before)


def test_small_work_gets_one_thread_and_large_work_all():
    with threads_for(ENOUGH - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_for(ENOUGH):
        assert torch.get_num_threads() == 2


def test_the_innermost_decides():
    with threads_for(1):
        with threads_for(ENOUGH):
            assert torch.get_num_threads() == 2
            with threads_for(1):
                assert torch.get_num_threads() == 1
            with threads_for(None):
                assert torch.get_num_threads() == 2
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_an_exception_restores_the_count():
    with pytest.raises(KeyboardInterrupt), threads_for(1), threads_for(ENOUGH), threads_for(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
    with threads_for(1):  # and the rule goes on
        assert torch.get_num_threads() == 1


def test_a_count_that_the_user_has_set_stays():
    torch.set_num_threads(3)
    with threads_for(1):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 3


def test_a_count_that_the_user_sets_inside_stays():
    with threads_for(1):
        torch.set_num_threads(3)
        with threads_for(ENOUGH):
            assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_environment_is_the_users_word(monkeypatch, variable):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 2)
    assert threads._default() == 2
    monkeypatch.setenv(variable, "2")
    assert threads._default() is None


def test_a_count_set_before_the_import_is_the_users_word(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for cores, default in ((2, 2), (4, 2), (8, None)):  # torch counts physical cores: all, or half of the logical ones
        monkeypatch.setattr(threads.os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert threads._default() == default


def test_another_thread_keeps_its_own_count():
    seen = []

    def other():
        torch.set_num_threads(2)
        with threads_for(1):
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    with threads_for(1):
        worker = python_threads.Thread(target=other)
        worker.start()
        worker.join()
        assert torch.get_num_threads() == 1
    assert seen == [1, 2] and torch.get_num_threads() == 2


def setting(width=4, residual=12):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=width, depth=2, dtype=torch.float64)
    return network, problem, problem.sample(residual=residual, boundary=2, dtype=torch.float64)


def test_work_is_rows_times_components_times_weights():
    network, problem, points = setting(width=7, residual=12)
    assert of_step(network, problem, points) == 12 * 3 * 49
    assert of_kernel(network, problem, points) == max(12 * 3 * 49, 14**2 * 3 * 7 / 2)
    few = {name: rows[:1] for name, rows in points.items()}
    assert of_cross_kernel(network, problem, few, points) == max(12 * 3 * 49, 2 * 14 * 3 * 7)
    assert of_factorization(torch.zeros(5, 3)) == 45
    assert of_factorization(torch.zeros(100, 200)) == 100 * 200 * 32


def test_a_network_elsewhere_leaves_the_count_alone():
    network, problem, points = setting()
    network.to("meta")
    assert of_step(network, problem, points) is None
    assert of_kernel(network, problem, points) is None
    assert of_factorization(torch.zeros(5, 3, device="meta")) is None


def test_wrong_arguments_are_the_functions_own_to_refuse():
    @with_threads_for(of_step)
    def work(network, problem, points):
        """Says what it does."""
        raise ValueError("refused by name")

    with pytest.raises(ValueError, match="refused by name"):
        work(None, None, None)
    with pytest.raises(TypeError, match=r"work\(\) missing 1 required positional argument: 'points'"):
        work(None, None)
    assert work.__doc__ == "Says what it does."


@pytest.fixture
def counts(monkeypatch):
    """What the count was at every forward pass of a linear layer."""
    seen = []
    plain = torch.nn.functional.linear

    def watched(*arguments):
        seen.append(torch.get_num_threads())
        return plain(*arguments)

    monkeypatch.setattr("pinntk.taylor._fused.F.linear", watched)
    return seen


ENTRIES = {
    "kernel": lambda network, problem, points: pinntk.kernel(network, problem, points),
    "cross kernel": lambda network, problem, points: pinntk.cross_kernel(network, problem, points, points),
    "traces": lambda network, problem, points: pinntk.traces(network, problem, points),
    "factors": lambda network, problem, points: pinntk.factors(network, problem, points),
    "operator": lambda network, problem, points: pinntk.KernelOperator(network, problem, points).diagonal(),
    "eigenpairs": lambda network, problem, points: pinntk.KernelOperator(network, problem, points).eigh(2),
    "diagnose": lambda network, problem, points: pinntk.diagnose(network, problem, points),
    "gauss-newton": lambda network, problem, points: pinntk.solvers.GaussNewton(network, problem).step(points),
    "natural gradient": lambda network, problem, points: pinntk.solvers.NaturalGradient(network, problem).step(points),
    "posterior": lambda network, problem, points: pinntk.posterior(network, problem, points, dict.fromkeys(points, 0.1)),
    "training": lambda network, problem, points: pinntk.train(problem, network, points=points, steps=2, progress=False),
}


@pytest.mark.parametrize("bound", [ENOUGH, 1], ids=["small", "large"])
@pytest.mark.parametrize("entry", sweep(ENTRIES, "operator", "eigenpairs", "gauss-newton", "training"))
def test_every_entry_keeps_the_rule_and_restores_the_count(monkeypatch, counts, entry, bound):
    network, problem, points = setting()
    monkeypatch.setattr(threads, "ENOUGH", bound)
    ENTRIES[entry](network, problem, points)
    assert counts[-1] == (1 if bound == ENOUGH else 2)  # the first passes look at the network
    assert torch.get_num_threads() == 2


def test_a_training_that_diverges_restores_the_count():
    network, problem, points = setting()
    with pytest.raises(pinntk.NonFiniteLossError):
        pinntk.train(problem, network, points=points, optimizer="gradient-descent", lr=1e200, steps=5, progress=False)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("optimizer", sweep(("adam", "ssbroyden", "gauss-newton"), "adam"))
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path, monkeypatch, optimizer):
    """Also where the rule's choice changes between the parts of a step: the larger work crosses the bound here."""
    monkeypatch.setattr(threads, "ENOUGH", 1500)

    def trained(steps, out, resume=False):
        network, problem, _ = setting(width=6)
        with torch.random.fork_rng():
            settings = {"optimizer": optimizer, "points": {"residual": 20, "boundary": 2}, "resample": 2, "snapshot_every": 0}
            if optimizer != "gauss-newton":
                settings["schedule"] = "constant"
            return pinntk.train(problem, network, steps=steps, out=out, resume=resume, progress=False, **settings)

    whole = trained(4, tmp_path / "whole")
    trained(2, tmp_path / "parts")
    resumed = trained(4, tmp_path / "parts", resume=True)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
