"""Sums of products of networks of one coordinate each."""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SeparableMLP(ScaledNetwork):
    r"""u(x) = b + sum_r w_r prod_j (1 + f_jr(x~_j)): products of networks of one coordinate each, `rank` of them.

    The separable PINN of Cho et al. 2023 (NeurIPS, arXiv 2306.15969), whose sum has weights w here, of which each field has its
    own. What it can be is what it is there, and it begins elsewhere: factors of about 1 neither vanish nor grow in products
    of many, and a product of 1 + f_j holds each f_j alone, each pair, and so on. How many products a solution needs is what
    counts, rather than its coordinates: sum_j g(x_j) takes d of them at most.

    In trainings and kernels points are scattered, each with its own products. On a grid d networks of n points each serve all
    n^d (`on_grid`), which is what makes the paper's trainings cheap; here it is for looking at results.

    rank: products in the sum
    width, depth: units in each hidden layer of a coordinate's network, number of its hidden layers
    problem, normalize, inputs, outputs, activation, parametrization, initialization, beta, gain, factorized,
        adaptive_slopes, output_scales: as for `MLP`
    seed: draws the weights, coordinate by coordinate, from a generator of their own

    Maps (n, d) to (n, fields). Raises ValueError for an unknown name or a size below 1.

    >>> import pinntk
    >>> network = SeparableMLP(pinntk.load("poisson_nd", d=5), rank=4, width=8, depth=1)
    >>> network(torch.rand(3, 5)).shape
    torch.Size([3, 1])
    >>> sum(p.numel() for p in network.parameters())
    265
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        rank: int = 16,
        width: int = 32,
        depth: int = 2,
        normalize: bool | None = None,
        inputs: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        layers, asked = split_options(type(self), options)
        inputs, outputs = dimensions("SeparableMLP", problem, inputs, outputs)
        check_sizes(rank=rank, width=width, depth=depth)
        generator = torch.Generator().manual_seed(seed)
        dtype = dtype or torch.get_default_dtype()

        def dense(sizes: list[int]) -> Dense:
            return Dense(sizes, generator, dtype=dtype, device=device, **layers)

        self.factors = nn.ModuleList(dense([1, *[width] * depth, rank]) for _ in range(inputs))
        self.last = dense([rank, outputs])
        taken = self._take_scales(problem, inputs, normalize, asked, dtype=dtype, device=device)
        self.config: dict[str, Any] = {
            "rank": rank,
            "width": width,
            "depth": depth,
            **self.last.options,
            **taken,
            "seed": seed,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        x = self._normalized(x)
        factors = [1 + factor(x[:, j : j + 1]) for j, factor in enumerate(self.factors)]  # (n, rank) each
        values = self.last(reduce(mul, factors))
        return self._rescaled(values)

    def on_grid(self, *axes: Tensor) -> Tensor:
        """The fields at all points of a grid, by n_1 + ... + n_d evaluations of networks.

        axes: for each coordinate its values, (n_j,). Gives (n_1, ..., n_d, fields). Raises ValueError for other shapes.
        """
        if len(axes) != len(self.factors) or any(values.ndim != 1 for values in axes):
            raise ValueError(f"axes of shapes {[tuple(values.shape) for values in axes]}: expected {len(self.factors)} of (n,)")
        product: Tensor | None = None  # (n_1, ..., n_j, rank)
        for j, (values, factor) in enumerate(zip(axes, self.factors, strict=True)):
            own = 1 + factor(((values - self.mean[j]) / self.deviation[j])[:, None])  # (n_j, rank)
            product = own if product is None else product.unsqueeze(-2) * own
        assert product is not None
        return self._rescaled(self.last(product))
