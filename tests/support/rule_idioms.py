"""Modules, operators and idioms that networks are written with, each a function of (4, 4) features: what no single rule is."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pinntk.taylor import Jet
from tests.support.rule_cases import CUBE, FULL, MASK, MATRIX, ROW, WHOLE, cubes, quietly, tensor
from tests.support.rule_cases_features import BATCH_NORM, MEAN, VAR


def built(module: nn.Module) -> nn.Module:
    """In float64, with parameters that are not the first ones."""
    module = module.double().eval()
    for i, p in enumerate(module.parameters()):
        p.data = tensor(*p.shape, seed=20 + i)
    return module


class Cubes(nn.Module):
    def forward(self, h):
        return cubes(h)


def numpy(t: torch.Tensor, x) -> object:
    """A numpy array beside a jet; the tensor of the same numbers beside a tensor, which does not take arrays."""
    return t.numpy() if isinstance(x, Jet) else t


MODULES = [
    *(
        nn.Tanh(),
        nn.Sigmoid(),
        nn.SiLU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.Softplus(2.0, 1.0),
        nn.ReLU(),
        nn.ReLU6(),
        nn.ELU(0.7),
    ),
    *(nn.SELU(), nn.CELU(0.5), nn.LeakyReLU(0.3), nn.RReLU(0.1, 0.4), nn.Hardtanh(-0.5, 0.5), nn.Hardswish()),
    *(
        nn.Hardshrink(0.3),
        nn.Softshrink(0.3),
        nn.Threshold(0.2, 1.5),
        nn.LogSigmoid(),
        nn.Mish(),
        nn.Softsign(),
        nn.Tanhshrink(),
    ),
    *(nn.PReLU(), nn.PReLU(4), nn.GLU(), nn.Softmax(dim=1), nn.Softmin(dim=-1), nn.LogSoftmax(dim=1), nn.Identity()),
    *(nn.Linear(4, 3), nn.Linear(4, 3, bias=False), nn.LayerNorm(4), nn.RMSNorm(4), nn.GroupNorm(2, 4), nn.Dropout(0.5)),
    *(nn.AlphaDropout(0.5), nn.Flatten(), nn.Unflatten(1, (2, 2)), nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))),
]
ON_CUBES = [
    *(nn.PReLU(4), nn.InstanceNorm1d(4), nn.InstanceNorm1d(4, affine=True, eps=1e-3), nn.GroupNorm(4, 4), nn.LayerNorm((4, 4))),
    *(nn.Dropout1d(), nn.Dropout2d(), nn.LocalResponseNorm(3, 0.2), nn.Flatten(), nn.Softmax(-1), nn.GLU(1), BATCH_NORM),
]
BILINEAR = built(nn.Bilinear(4, 4, 3))
IDIOMS = {
    **{f"{module}": built(module) for module in MODULES},
    **{f"{module} of cubes": nn.Sequential(Cubes(), built(module)) for module in ON_CUBES},
    "BatchNorm1d": BATCH_NORM,
    "InstanceNorm2d": built(nn.Sequential(Cubes(), nn.Unflatten(2, (2, 2)), nn.InstanceNorm2d(4, affine=True))),
    "Bilinear": lambda h: BILINEAR(h, h.sin()),
    "CosineSimilarity": lambda h: nn.CosineSimilarity()(h, h.flip(1)),
    "PairwiseDistance": lambda h: nn.PairwiseDistance()(h, FULL),
    "weight_norm": nn.utils.parametrizations.weight_norm(nn.Linear(4, 3).double()),
    "spectral_norm": nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3).double()).eval(),
    "implicit softmax": lambda h: quietly(nn.Softmax(), h),
    "h + h": lambda h: h + h.sin(),
    "h + number": lambda h: h + 2 - 3.5 + (1 + h) + (2.5 - h),
    "h + tensor": lambda h: h + ROW - FULL + (ROW + h) + (FULL - h),
    "h + int tensor": lambda h: h + WHOLE - WHOLE.to(torch.uint8) + (WHOLE - h) + MASK,
    "h + float32": lambda h: h + ROW.float() - FULL.float(),
    "h + numpy": lambda h: h + numpy(ROW, h) - numpy(FULL, h),
    "numpy + h": lambda h: numpy(ROW, h) + h + (numpy(FULL, h) - h),
    "numpy scalars": lambda h: np.float64(1.5) * h + h * np.float32(0.5) + h / np.int64(3) - np.float64(2),
    "numpy * h / numpy": lambda h: numpy(ROW, h) * h / numpy(FULL, h) + numpy(ROW, h) / (h * h + 1),
    "numpy ** h": lambda h: numpy(ROW.abs(), h) ** h + (h * h + 0.1) ** numpy(ROW, h),
    "h @ numpy": lambda h: h @ numpy(MATRIX, h),
    "numpy < h": lambda h: torch.where(numpy(ROW, h) < h, h, h * h) + (h >= numpy(FULL, h)) * h,
    "h * h": lambda h: h * h.cos() * 2 * ROW * (FULL * h),
    "h / h": lambda h: h / (h * h + 1) / 3 / ROW + 2 / (h * h + 1) + ROW / (h * h + 1),
    "h ** p": lambda h: h**2 + h**3 - (h * h + 1) ** 0.5 + 2 ** (0.1 * h) + h ** torch.tensor([2.0, 3.0, 1.0, 0.0]),
    "h % 1": lambda h: h % 1 + h % ROW,
    "-h, +h, abs(h)": lambda h: -h + abs(+h),
    "h @ matrix": lambda h: h @ MATRIX,
    "matrix @ h": lambda h: MATRIX.T @ cubes(h),
    "cubes @ cubes": lambda h: cubes(h) @ cubes(h.sin()) @ FULL,
    "comparisons": lambda h: (h > 0) * h + (h <= ROW) * h.sin() + (h > 0.3) + (h == h) * h + (h != 0.4) * h + (h <= ROW),
    "masks": lambda h: h * (h > 0).double() + torch.where((h > 0) & (h < 1), h, 0.0) + h * MASK,
    "sign": lambda h: (
        h * torch.sign(h) + torch.floor(h) * h + h.round() * h.detach().sign()
        if not isinstance(h, Jet)
        else (h * torch.sign(h) + torch.floor(h) * h + h.round() * h.sign())
    ),
    "augmented": lambda h: augmented(h),
    "slices": lambda h: h[:, 1:3] * h[..., 2:] + h[:, [0, 2]] * h[:, ::2],
    "new axes": lambda h: (h[:, None, :] * h[:, :, None])[:, 1],
    "mT": lambda h: cubes(h).mT,
    "unpacked columns": lambda h: (lambda a, b, c, d: torch.stack([a * b, c / (1 + d * d)], 1))(*h.unbind(1)),
    "columns of constants": lambda h: torch.cat([h, torch.ones(4, 1), torch.zeros_like(h[:, :1]), h.new_full((4, 1), 2.0)], 1),
    "sizes": lambda h: h.reshape(len(h), h.size(1), 1) * h.numel() / h.nelement() + h.ndim + h.dim() + h.shape[-1],
    "one hot of a choice": lambda h: F.one_hot(h.argmax(1), 4) * h,
    "attention": lambda h: torch.softmax(cubes(h) @ cubes(h).mT / 2, -1) @ cubes(h),
    "rotation": lambda h: torch.einsum("nij,nj->ni", cubes(h), h),
    "periodic": lambda h: torch.cat([torch.sin(h * ROW), torch.cos(2 * torch.pi * h)], -1),
    "radial basis": lambda h: torch.exp(-((h.unsqueeze(1) - FULL) ** 2).sum(-1)),
    "fractional": lambda h: (h - h.floor()) * (1 - torch.frac(h)),
    "residual block": lambda h: h + torch.tanh(F.linear(torch.tanh(h @ FULL), FULL, ROW)),
    "bilinear form": lambda h: torch.einsum("ni,oij,nj->no", h, CUBE, FULL),
    "standardized": lambda h: (h - MEAN) / VAR.sqrt() * torch.rsqrt(h.var(1, keepdim=True) + 1),
    "casts": lambda h: h.double().to(torch.float64).clone().contiguous().type_as(FULL).cpu(),
    "long index": lambda h: ROW[h.abs().clamp(max=3).long()] * h,
}


def augmented(h):
    y = 2 * h
    y += ROW
    y -= 0.5
    y *= h
    y /= 3
    y **= 2
    return y
