"""The modified MLP: two encoders of the inputs that mix in every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ModifiedMLP(EmbeddedNetwork):
    r"""An MLP whose hidden layers are gates between two encoders of its inputs (Wang, Teng & Perdikaris 2021, SISC 43:A3055):

        U = s(W_U x~ + b_U),    V = s(W_V x~ + b_V),    z_l = s(W_l h_(l-1) + b_l),    h_l = z_l U + (1 - z_l) V,
        u = W_L h + b_L

    with h_0 = x~, the normalized, embedded input. Every hidden layer is gated, as in the code that the authors have used since;
    in the paper the first is not.

    width, depth: units in each hidden layer and in both encoders, number of hidden layers
    problem, normalize, periodic, fourier, hard, inputs, outputs, activation, parametrization, initialization, beta, gain,
        factorized, adaptive_slopes, output_scales: as for `MLP`
    seed: draws encoders, then layers, from a generator of their own, after the features

    Maps (n, d) to (n, fields). Raises ValueError as `MLP` does.

    >>> import pinntk
    >>> network = ModifiedMLP(pinntk.load("burgers"), width=8, depth=2, hard="auto")
    >>> network(torch.rand(5, 2)).shape, network.hard
    (torch.Size([5, 1]), ('start', 'walls'))
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        width: int = 64,
        depth: int = 3,
        normalize: bool | None = None,
        periodic: str | Sequence[str] | Mapping[str, int] | None = None,
        fourier: tuple[int, float] | Mapping[str, Sequence] | None = None,
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
        inputs, outputs = dimensions("ModifiedMLP", problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        generator = torch.Generator().manual_seed(seed)
        place: Any = {"dtype": dtype, "device": device}
        features, embedded = self._embed(
            problem, inputs, generator, normalize=normalize, periodic=periodic, fourier=fourier, hard=hard, asked=asked, **place
        )
        self.U = Dense([features, width], generator, ends_active=True, **place, **layers)
        self.V = Dense([features, width], generator, ends_active=True, **place, **layers)
        self.dense = Dense([features, *[width] * depth, outputs], generator, **place, **layers)
        self.config = {"width": width, "depth": depth, **self.dense.options, **embedded, "seed": seed}

    def core(self, features: Tensor) -> Tensor:
        U, V = self.U(features), self.V(features)
        between = U - V
        h, depth = features, len(self.dense.weights) - 1
        for layer in range(depth):
            h = V + self.dense.activate(self.dense.affine(h, layer), layer) * between
        return self.dense.affine(h, depth)

    def last_layer(self) -> list[nn.Parameter]:
        return [self.dense.weights[-1], self.dense.biases[-1]]
