"""The modified MLP: two encoders of the inputs that mix in every layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pinntk.nn._dense import Dense
from pinntk.nn._dense_network import DenseNetwork


class ModifiedMLP(DenseNetwork):
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

    >>> import pinntk, torch
    >>> network = ModifiedMLP(pinntk.load("burgers"), width=8, depth=2, hard="auto")
    >>> network(torch.rand(5, 2)).shape, network.hard
    (torch.Size([5, 1]), ('start', 'walls'))
    """

    def _make(self, features: int, width: int, depth: int, outputs: int, dense: Callable[..., Dense]) -> None:
        self.U, self.V = (dense([features, width], ends_active=True) for _ in range(2))
        self.dense = dense([features, *[width] * depth, outputs])

    def core(self, features: Tensor) -> Tensor:
        U, V = self.U(features), self.V(features)
        between = U - V
        h, depth = features, len(self.dense.weights) - 1
        for layer in range(depth):
            h = V + self.dense.activate(self.dense.affine(h, layer), layer) * between
        return self.dense.affine(h, depth)
