"""PirateNet: residual blocks that begin as the identity, and so a network that begins linear in its features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, option_names
from pinntk.nn._dense_network import DenseNetwork
from pinntk.problem import Problem


class PirateNet(DenseNetwork):
    r"""Residual blocks that begin as the identity (physics-informed residual adaptive networks).

    Wang, Li, Chen & Perdikaris 2024, arXiv 2402.00326. With the features phi = x_0 of the normalized input, and encoders
    U = s(W_U phi + b_U), V = s(W_V phi + b_V), a block is

        z_1 = f U + (1 - f) V,      f = s(W_1 x_l + b_1)
        z_2 = g U + (1 - g) V,      g = s(W_2 z_1 + b_2)
        x_(l+1) = a_l h + (1 - a_l) x_l,    h = s(W_3 z_2 + b_3)

    and u = W x_L + b. The a_l are trained and begin at 0: at the start u = W phi + b, linear in its features, and it becomes as
    deep as training makes it. At the start only W, b and the a_l have gradients.

    width, depth: units of encoders and within blocks; number of blocks, of three layers each
    fourier: the features, as for `MLP`; by default 64 frequencies of standard deviation 0.2, which is 0.7 waves over a domain
        length. None is x~ itself, so that u is linear in the coordinates at the start
    problem, normalize, periodic, hard, inputs, outputs, activation, parametrization, initialization, beta, gain, factorized,
        adaptive_slopes, output_scales: as for `MLP`. The authors factorize all weights: `factorized=True`
    seed: draws features, encoders, blocks and the last layer from a generator of their own

    Maps (n, d) to (n, fields). `network.alphas` has the a_l. Raises ValueError as `MLP` does.

    >>> import pinntk
    >>> network = PirateNet(pinntk.load("burgers"), width=8, depth=2, fourier=(5, 0.2))
    >>> x = torch.rand(4, 2)
    >>> linear = network.dense(network.features(x))
    >>> bool((network(x) == linear).all())
    True
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = dict.fromkeys(option_names(DenseNetwork))

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        fourier: tuple[int, float] | Mapping[str, Sequence] | None = (64, 0.2),
        **options: Any,
    ):
        super().__init__(problem, fourier=fourier, **options)

    def _make(self, features: int, width: int, depth: int, outputs: int, dense: Callable[..., Dense]) -> None:
        active = partial(dense, ends_active=True)
        self.U, self.V = (active([features, width]) for _ in range(2))
        self.blocks = nn.ModuleList(active([features, width, width, features]) for _ in range(depth))
        self.dense = dense([features, outputs])
        zero = torch.zeros_like(self.dense.biases[-1][0])
        self.alphas = nn.ParameterList(nn.Parameter(zero.clone()) for _ in range(depth))

    def core(self, features: Tensor) -> Tensor:
        U, V = self.U(features), self.V(features)
        between, x = U - V, features
        for block, alpha in zip(cast("Iterable[Dense]", self.blocks), self.alphas, strict=True):
            z = V + block.activate(block.affine(x, 0), 0) * between
            z = V + block.activate(block.affine(z, 1), 1) * between
            h = block.activate(block.affine(z, 2), 2)
            x = x + alpha * (h - x)
        return self.dense(x)
