"""PirateNet: residual blocks that begin as the identity, and so a network that begins linear in its features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PirateNet(EmbeddedNetwork):
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
    >>> linear = network.last(network.features(x))
    >>> bool((network(x) == linear).all())
    True
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        width: int = 64,
        depth: int = 3,
        normalize: bool | None = None,
        periodic: str | Sequence[str] | Mapping[str, int] | None = None,
        fourier: tuple[int, float] | Mapping[str, Sequence] | None = (64, 0.2),
        hard: str | Sequence[str] | None = None,
        inputs: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        layers, asked = split_options(type(self), options)
        inputs, outputs = dimensions("PirateNet", problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        generator = torch.Generator().manual_seed(seed)
        place: Any = {"dtype": dtype, "device": device}
        features, embedded = self._embed(
            problem, inputs, generator, normalize=normalize, periodic=periodic, fourier=fourier, hard=hard, asked=asked, **place
        )

        def active(sizes: Sequence[int]) -> Dense:
            return Dense(sizes, generator, ends_active=True, **place, **layers)

        self.U, self.V = active([features, width]), active([features, width])
        self.blocks = nn.ModuleList(active([features, width, width, features]) for _ in range(depth))
        self.last = Dense([features, outputs], generator, **place, **layers)
        zero = torch.zeros((), device=device, dtype=dtype or torch.get_default_dtype())
        self.alphas = nn.ParameterList(nn.Parameter(zero.clone()) for _ in range(depth))
        self.config = {"width": width, "depth": depth, **self.last.options, **embedded, "seed": seed}

    def core(self, features: Tensor) -> Tensor:
        U, V = self.U(features), self.V(features)
        between, x = U - V, features
        for block, alpha in zip(cast("Iterable[Dense]", self.blocks), self.alphas, strict=True):
            z = V + block.activate(block.affine(x, 0), 0) * between
            z = V + block.activate(block.affine(z, 1), 1) * between
            h = block.activate(block.affine(z, 2), 2)
            x = x + alpha * (h - x)
        return self.last(x)

    def last_layer(self) -> list[nn.Parameter]:
        return [self.last.weights[0], self.last.biases[0]]
