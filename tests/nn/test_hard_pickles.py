"""Networks with hard constraints are pickled by the file of their problem."""

import io
import pickle
from dataclasses import replace

import pytest
import torch

import pinntk
from pinntk.nn import MLP, SlabNetwork, hard_constraint
from tests.support.constrained import F64, SMALL, quietly
from tests.support.small_problems import diffusion

FILE = """
from pinntk import Box, Problem, boundary

def problem(height: float = 1.0):
    domain = Box(x=(0, 1), y=(0, 1))

    @boundary(domain.ends("x"))
    def sides(u, y):
        return u - height * y

    return Problem(domain, [sides])
"""


def same(a, b, d=2):
    x = torch.rand(5, d, **F64)
    return torch.equal(a(x), b(x))


@pytest.mark.parametrize("name", ["burgers", "wave1d", "convection", "kovasznay", "allen_cahn"])
def test_a_network_comes_back(name):
    problem = pinntk.load(name)
    network = quietly(problem)
    again = pickle.loads(pickle.dumps(network))
    assert same(again, network)
    assert (again.hard, again.soft, again.config) == (network.hard, network.soft, network.config)
    points = problem.sample(residual=4, boundary=3, initial=3, periodic=3, **F64)
    found, expected = (pinntk.errors(n, problem, points) for n in (again, network))
    assert all(torch.equal(found[condition], expected[condition]) for condition in points)


def test_by_torch_save_and_inside_of_others():
    problem = pinntk.load("wave1d", c=3.0)
    parts = [MLP(pinntk.slab(problem, 0, 2), **SMALL, hard="auto")]
    parts.append(MLP(pinntk.slab(problem, 1, 2, parts[0]), **SMALL, hard="auto"))
    assert [part.hard for part in parts] == [("start", "start_velocity", "walls"), ("walls",)]
    inner = pinntk.nn.MscaleDNN(problem, scales=(1.0, 2.0), width=6, depth=1, activation="tanh", **F64)
    for network in (SlabNetwork(parts, (0.0, 0.5, 1.0), axis=0), hard_constraint(problem, inner, "walls")):
        buffer = io.BytesIO()
        torch.save(network, buffer)
        buffer.seek(0)
        assert same(torch.load(buffer, weights_only=False), network)


def test_a_file_that_has_changed_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    network = MLP(pinntk.load(path, height=2.0), **SMALL, hard="auto")
    content = pickle.dumps(network)
    assert same(pickle.loads(content), network)
    path.write_text(FILE.replace("u - height", "u + height"))
    with pytest.raises(ValueError, match=r"mine.py: its conditions \('sides',\) are not those that the pickled network"):
        pickle.loads(content)


def test_a_problem_without_a_file_says_what_to_do():
    network = MLP(diffusion(), **SMALL, hard="auto")
    with pytest.raises(TypeError, match=r"built in Python, .* save network.state_dict\(\), .* with hard=\('start', 'walls'\)"):
        pickle.dumps(network)
    changed = replace(pinntk.load("burgers"), source="")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(MLP(changed, **SMALL, hard="auto"))
