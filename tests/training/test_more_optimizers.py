"""Muon with AdamW, SOAP and others of pytorch-optimizer: by name, on and on to the last bit."""

from functools import partial

import pytest
import torch

import pinntk
from pinntk.solvers import Muon
from pinntk.training import TrainConfig, _more_optimizers
from pinntk.training._soap import with_matrix_products
from tests.support.sweeps import sweep
from tests.training.test_chains import start, vector

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch is older than its Muon")
needs_soap = pytest.mark.skipif(not _more_optimizers.more_optimizers(), reason="pytorch-optimizer is not installed")
FEW = {"points": {"residual": 9, "boundary": 4}, "progress": False, "snapshot_every": 0, "schedule": "exponential"}


def train(optimizer, steps, **settings):
    return pinntk.train(*start(), optimizer=optimizer, steps=steps, **FEW, **settings)


@needs_muon
def test_muon_is_torchs_for_matrices_and_adamw_for_the_rest():
    """Two optimizers of torch, side by side, on the same gradients."""

    class Both(torch.optim.Optimizer):
        def __init__(self, parameters):
            parameters = list(parameters)
            super().__init__(parameters, {"lr": 0.01})
            matrices, rest = ([p for p in parameters if (p.ndim == 2) is matrix] for matrix in (True, False))
            assert matrices and rest
            self.both = [
                torch.optim.Muon(matrices, lr=0.01, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(rest, lr=0.01, weight_decay=0.0),
            ]

        def step(self, closure):
            loss = closure()
            for optimizer in self.both:
                optimizer.step()
            return loss

    own = pinntk.train(*start(), optimizer="muon", lr=0.01, optimizer_options={"momentum": 0.9}, **constant(5))
    expected = pinntk.train(*start(), optimizer=partial(Both), **constant(5))
    assert torch.equal(vector(own), vector(expected))


def constant(steps):
    return {**FEW, "schedule": "constant", "steps": steps}


@needs_muon
def test_muon_without_matrices_and_with_nothing_else():
    for shape in ((3,), (2, 3), (2, 3, 4)):
        p = torch.ones(shape, requires_grad=True)
        optimizer = Muon([p], lr=0.1)
        p.sum().backward()
        optimizer.step()
        assert (p != 1).all()


def test_muon_of_an_older_torch(monkeypatch):
    monkeypatch.setattr("pinntk.solvers._muon._TORCHS", None)
    with pytest.raises(ValueError, match=r"muon needs torch 2\.9 or newer"):
        train("muon", 1)


SHAPES = ((3, 2), (4, 4), (1, 5), (5,), (2, 3, 2), ())


@needs_soap
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precondition_frequency": 3, "shampoo_beta": 0.9, "weight_decay": 0.1},
        {"precondition_1d": True, "normalize_gradient": True},
        {"max_precondition_dim": 3},
    ],
)
def test_soap_is_the_librarys(options):
    """Which contracts tensors of any order where this one multiplies matrices. Both orthogonalize in float32."""
    library = pytorch_optimizer().SOAP
    quick = with_matrix_products(library)
    assert quick is not library and quick is with_matrix_products(library)
    found = []
    for made in (library, quick):
        rng = torch.Generator().manual_seed(0)
        parameters = [torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_() for shape in SHAPES]
        optimizer = made(parameters, lr=0.01, **options)
        for _ in range(25):
            for p in parameters:
                p.grad = p.detach() + torch.randn(p.shape, generator=rng, dtype=p.dtype)
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in parameters]))
    assert torch.allclose(*found, rtol=1e-6, atol=1e-9)


@needs_soap
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-3, 1e6, 1e12])
def test_rounding_of_a_gradient_is_no_direction_to_soap(size, dtype):
    """Gradients of rank 1 have nothing in other directions, where noise over noise, or over eps, was a long step.

    In a direction that has just turned, the average of squares has one of them alone: a step of 1 / (1 - 0.95)^(1/2) rates.
    """
    rng = torch.Generator().manual_seed(0)
    shapes = ((1, 36), (36, 1), (36, 36))
    parameters = [torch.zeros(shape, dtype=dtype).requires_grad_() for shape in shapes]
    gradients = [torch.randn(n, 1, generator=rng) * torch.randn(m, generator=rng) for n, m in shapes]
    optimizer = with_matrix_products(pytorch_optimizer().SOAP)(parameters, lr=0.01, weight_decay=0.0)
    for _ in range(12):
        before = [p.detach().clone() for p in parameters]
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = size * gradient.to(dtype)
        optimizer.step()
        for p, q in zip(parameters, before, strict=True):
            assert (p.detach() - q).norm() <= 4.5 * 0.01 * p.numel() ** 0.5


@needs_soap
def test_another_version_of_the_library_is_taken_as_it_is():
    class Other(pytorch_optimizer().SOAP):
        def project(self, grad, state):
            return grad

    assert with_matrix_products(Other) is Other


@needs_soap
def test_the_options_of_a_class_of_ones_own_are_its_own():
    class Own(pytorch_optimizer().SOAP):
        def __init__(self, parameters, **options):
            super().__init__(parameters, **options)

    assert train(Own, 1, lr=0.01, optimizer_options={"precondition_frequency": 2}).step == 1


def pytorch_optimizer():
    return pytest.importorskip("pytorch_optimizer")


OTHERS = [pytest.param("muon", marks=needs_muon), *(pytest.param(name, marks=needs_soap) for name in ("SOAP", "lion"))]


@pytest.mark.parametrize("optimizer", OTHERS)
@pytest.mark.parametrize("stop", sweep((1, 12), 12))
def test_a_resumed_training_is_the_whole_one(tmp_path, optimizer, stop):
    """At 12 SOAP has turned its bases once, by its default."""
    whole = train(optimizer, 14)
    train(optimizer, stop, out=tmp_path)
    resumed = train(optimizer, 14, out=tmp_path, resume=True)
    assert torch.equal(vector(whole), vector(resumed)) and not torch.equal(vector(whole), vector(train(optimizer, 3)))
    assert TrainConfig.from_json(resumed.config).optimizer == resumed.config["training"]["optimizer"]


@needs_soap
def test_soap_by_name_has_no_weight_decay_unless_asked_for():
    from pytorch_optimizer import SOAP

    def with_options(which, **options):
        settings = {"steps": 4, "lr": 0.01, "optimizer_options": {"precondition_frequency": 2, **options}}
        return vector(pinntk.train(*start(), optimizer=which, **{**FEW, **settings}))

    decayed, none = with_options(SOAP), with_options(SOAP, weight_decay=0.0)
    assert torch.allclose(with_options("soap"), none, rtol=1e-9) and not torch.allclose(decayed, none, rtol=1e-6)
    assert torch.allclose(with_options("soap", weight_decay=0.01), decayed, rtol=1e-9)
    with pytest.raises(ValueError, match="precondition_frequncy"):
        train("soap", 1, optimizer_options={"precondition_frequncy": 2})


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(_more_optimizers, "find_spec", lambda name: None)
    for name in ("soap", "adam:3, soap:2"):
        with pytest.raises(ValueError, match=r"soap and others come with pip install \"pinntk\[optimizers\]\""):
            TrainConfig(optimizer=name)
    with pytest.raises(ValueError, match="pip install"):
        TrainConfig.from_json({"training": {"optimizer": "soap"}})
