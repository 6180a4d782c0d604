"""Networks beyond multilayer perceptrons, in plain PyTorch: {name: builder of a float64 module (n, 2) -> (n, 1)}."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint


class Then(nn.Module):
    """first(x), then a function of its output and of this module, whose parts are given by name."""

    def __init__(self, function, first: nn.Module | None = None, **parts):
        super().__init__()
        self.first, self.function = first or nn.Sequential(nn.Linear(2, 6), nn.Tanh()), function
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, Tensor) else part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.first(x))


def convolution() -> nn.Module:
    parts = {"conv": nn.Conv1d(1, 3, 3, padding=1), "last": nn.Linear(18, 1)}
    return Then(lambda s, h: s.last(torch.tanh(s.conv(h.unsqueeze(1))).flatten(1)), **parts)


def attention() -> nn.Module:
    parts = {"attend": nn.MultiheadAttention(3, 1, batch_first=True), "last": nn.Linear(6, 1)}

    def forward(s, h):
        h = h.unflatten(1, (2, 3))
        return s.last(s.attend(h, h, h, need_weights=False)[0].flatten(1))

    return Then(forward, **parts)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(3, 1, 5, dropout=0.0, activation=F.gelu, batch_first=True)
    return Then(lambda s, h: s.last(s.layer(h.unflatten(1, (2, 3))).flatten(1)), layer=layer, last=nn.Linear(6, 1))


def bilinear() -> nn.Module:
    return Then(lambda s, h: s.last(h, torch.sin(h)), last=nn.Bilinear(6, 6, 1))


def trained_slopes() -> nn.Module:
    parts = {"slope": nn.PReLU(6), "last": nn.Linear(6, 1)}
    return Then(lambda s, h: s.last(s.slope(h) * h), **parts)


def layer_norm() -> nn.Module:
    return Then(lambda s, h: s.last(torch.tanh(s.norm(h))), norm=nn.LayerNorm(6), last=nn.Linear(6, 1))


def evaluated_batch_norm() -> nn.Module:
    net = Then(lambda s, h: s.last(torch.tanh(s.norm(h))), norm=nn.BatchNorm1d(6), last=nn.Linear(6, 1))
    net.norm.running_mean.normal_()
    return net.eval()


def normalized_weights() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(2, 7)), nn.Tanh(), weight_norm(nn.Linear(7, 6)), nn.Tanh(), nn.Linear(6, 1))


def spectral() -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Linear(2, 7)), nn.Tanh(), nn.Linear(7, 1)).eval()


def orthogonal_weights() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), orthogonal(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 1))


def splines() -> nn.Module:
    """Kolmogorov-Arnold: every edge has a trained function, a sum of Gaussian bumps."""
    parts = {"coefficients": torch.randn(6, 4, 5), "last": nn.Linear(4, 1)}

    def forward(s, h):
        bumps = torch.exp(-((h.unsqueeze(-1) - torch.linspace(-1, 1, 5).to(h)) ** 2))
        return s.last(torch.einsum("nik,iok->no", bumps, s.coefficients))

    return Then(forward, **parts)


def separable() -> nn.Module:
    parts = {"t": nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 4))}
    parts["x"] = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 4))
    return Then(lambda s, h: (s.t(h[:, :1]) * s.x(h[:, 1:])).sum(1, keepdim=True), nn.Identity(), **parts)


def ensemble() -> nn.Module:
    nets = nn.ModuleList(nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)) for _ in range(3))
    return Then(lambda s, x: torch.stack([m(x) for m in s.nets]).mean(0), nn.Identity(), nets=nets)


def vmapped_ensemble() -> nn.Module:
    nets = nn.ModuleList(nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)) for _ in range(3))

    def forward(s, x):
        parameters, buffers = {}, {}
        for name, _ in s.nets[0].named_parameters():
            parameters[name] = torch.stack([dict(m.named_parameters())[name] for m in s.nets])
        return vmap(lambda p, b: functional_call(s.nets[0], (p, b), (x,)))(parameters, buffers).mean(0)

    assert stack_module_state
    return Then(forward, nn.Identity(), nets=nets)


def recurrent() -> nn.Module:
    parts = {"cell": nn.RNNCell(2, 6), "last": nn.Linear(6, 1)}

    def forward(s, x):
        h = s.cell(x)
        return s.last(s.cell(x, h))

    return Then(forward, nn.Identity(), **parts)


def mixture() -> nn.Module:
    """Experts weighed by a gate."""
    parts = {"gate": nn.Linear(6, 3), "experts": nn.ModuleList(nn.Linear(6, 1) for _ in range(3))}
    return Then(
        lambda s, h: (torch.softmax(s.gate(h), 1) * torch.cat([m(h) for m in s.experts], 1)).sum(1, keepdim=True), **parts
    )


def low_rank() -> nn.Module:
    parts = {"A": torch.randn(6, 2), "B": torch.randn(2, 6), "last": nn.Linear(6, 1)}
    return Then(lambda s, h: s.last(torch.tanh(h @ (s.A @ s.B))), **parts)


def log_scale() -> nn.Module:
    """A 0-d parameter, used through a computed value."""
    return Then(lambda s, h: s.last(h) * s.log_scale.exp(), log_scale=torch.tensor(0.3), last=nn.Linear(6, 1))


def clamped() -> nn.Module:
    return Then(lambda s, h: s.last(h.clamp(min=s.low)), low=torch.tensor([-0.2]), last=nn.Linear(6, 1))


def checkpointed() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    return Then(lambda s, h: s.last(checkpoint(s.net, h, use_reentrant=False)), net=net, last=nn.Linear(6, 1))


def scripted() -> nn.Module:
    @torch.jit.script
    def swish(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    return Then(lambda s, h: s.last(swish(h)), last=nn.Linear(6, 1))


def complex_weights() -> nn.Module:
    """Trained complex multipliers between Fourier transforms, as in operator networks."""
    parts = {"multipliers": torch.randn(4, dtype=torch.complex64), "last": nn.Linear(6, 1)}
    return Then(lambda s, h: s.last(torch.fft.irfft(torch.fft.rfft(h, dim=1) * s.multipliers, n=6, dim=1)), **parts)


def of_data() -> nn.Module:
    """The values of a tensor without its graph."""
    return Then(lambda s, h: s.last(h * torch.sigmoid(h.data)), last=nn.Linear(6, 1))


def autocast_inside() -> nn.Module:
    """Does nothing to float64, but jets cannot know what it would do."""

    def forward(s, h):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return s.last(torch.tanh(s.middle(h)))

    return Then(forward, middle=nn.Linear(6, 6), last=nn.Linear(6, 1))


def _of_matrices(function) -> nn.Module:
    def forward(s, h):
        M = h[:, :4].unflatten(1, (2, 2))
        M = M @ M.transpose(1, 2) + 0.5 * torch.eye(2, dtype=h.dtype)
        return s.last(torch.cat([h, function(M, h[:, 4:])], 1))

    return Then(forward, last=nn.Linear(7, 1))


def determinant() -> nn.Module:
    return _of_matrices(lambda M, b: torch.linalg.det(M).unsqueeze(1))


def log_determinant() -> nn.Module:
    return _of_matrices(lambda M, b: torch.logdet(M).unsqueeze(1))


def sign_and_log_determinant() -> nn.Module:
    return _of_matrices(lambda M, b: torch.linalg.slogdet(M)[1].unsqueeze(1))


def linear_solve() -> nn.Module:
    return _of_matrices(lambda M, b: torch.linalg.solve(M, b)[:, :1])


def eigenvalues() -> nn.Module:
    return _of_matrices(lambda M, b: torch.linalg.eigvalsh(M)[:, :1])


def eigenvectors() -> nn.Module:
    return _of_matrices(lambda M, b: torch.linalg.eigh(M)[1][:, 0, :1] ** 2)


NETWORK_TYPES = {
    builder.__name__: builder
    for builder in (
        convolution,
        attention,
        transformer,
        bilinear,
        trained_slopes,
        layer_norm,
        evaluated_batch_norm,
        normalized_weights,
        spectral,
        orthogonal_weights,
        splines,
        separable,
        ensemble,
        vmapped_ensemble,
        recurrent,
        mixture,
        low_rank,
        log_scale,
        clamped,
        checkpointed,
        scripted,
        complex_weights,
        of_data,
        autocast_inside,
        determinant,
        log_determinant,
        sign_and_log_determinant,
        linear_solve,
        eigenvalues,
        eigenvectors,
    )
}


def build(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORK_TYPES[name]()
        for p in network.parameters():
            p.data = p.data.to(torch.complex128 if p.is_complex() else torch.float64)
        for b in network.buffers():
            b.data = b.data.double() if b.is_floating_point() else b.data
        return network
