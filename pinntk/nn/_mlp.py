"""The multilayer perceptron, in the standard and in the NTK parametrization."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pinntk.nn._dense import Dense
from pinntk.nn._dense_network import DenseNetwork


class MLP(DenseNetwork):
    r"""u(x) = W_L s(... s(W_0 x~ + b_0) ...) + b_L with x~ the normalized, embedded input; maps (n, d) to (n, fields).

    problem: gives the number of inputs (coordinates) and outputs (fields), and the domain for `normalize`;
        or None, and `inputs` and `outputs` say it
    width, depth: units in each hidden layer, number of hidden layers
    activation: one of `ACTIVATIONS`
    parametrization: "standard", or "ntk" (Jacot et al. 2018): every layer is W x / sqrt(fan-in) + beta b with W and b
        drawn from N(0, 1), so that the kernel has a limit as the width grows
    initialization, for the standard parametrization: "xavier" (Glorot normal, zero biases), "normal"
        (W ~ N(0, 1 / fan-in), b ~ N(0, 1): the notebook of Wang, Yu & Perdikaris), "lecun" (W ~ N(0, 1 / fan-in), zero
        biases), "kaiming" (torch's default for nn.Linear)
    beta: scale of the biases in the NTK parametrization
    gain: factor on the initial weights, not the biases; well above 1 most tanh units start, and stay, saturated
    factorized: W = diag(exp(s)) V in every layer, V and s trained, for the same function at the start (Wang, Wang, Seidman &
        Perdikaris 2022, arXiv 2210.01274): mean and standard deviation that s is drawn with; True for the paper's (1.0, 0.1)
    adaptive_slopes: n of activations s(n a x) with a trained slope a for each layer, 1 / n at the start (Jagtap, Kawaguchi &
        Karniadakis 2020, JCP 404:109136); at least 1. The larger n, the faster gradient steps change n a
    normalize: map each coordinate to mean 0 and standard deviation 1 over the domain (exact under differentiation);
        True by default where a problem is given
    periodic: coordinates in which u repeats exactly, derivatives included, with the domain's length for its period: "x" or
        ("x", "y"), or with a number of harmonics each, {"x": 3}. A coordinate becomes cos(2 pi m (x - low) / L) and sin(...),
        m = 1 .. harmonics, times sqrt(2) under `normalize` (unit variance)
    fourier: (count, sigma): random features cos(2 pi B x~), sin(2 pi B x~), fixed, of `count` frequencies B ~ N(0, sigma^2)
        a coordinate, after `normalize` and `periodic` (Tancik et al. 2020; Wang, Wang & Perdikaris 2021); or frequencies b_j
        and amplitudes a_j of your choice, {"frequencies": [...], "amplitudes": [...]}, as from `pinntk.nn.power_law`:
        a_j cos(2 pi b_j . x~), a_j sin(2 pi b_j . x~), divided by norm(a); all a_j alike where amplitudes are left out
    hard: conditions of the problem that the network meets by construction, whatever its parameters are: names, each of which
        has to be met, or "auto" for all that can be. Prescribed values on faces of the domain or a shape's boundary, u_t
        beside u on an initial face, and periodic conditions can; see `hard_constraint`. The network becomes
        offset(x) + factor(x) u(x), and repeats where a condition asks for it. `network.hard` has the names of conditions that
        are met, `network.soft` why each of the others is not
    output_scales: u = shift + scale N(x) for fields whose values are far from 1, as in {"T": (300.0, 20.0)}, N the network of
        above; or "auto", by `pinntk.diagnostics.scales`, where sizes are above 10 or below 0.001; {} for u = N. The default is
        "auto", and {} where `normalize` is False: who asks for raw inputs asks for a raw network. `network.output_scales` and
        config.json have what came of it
    seed: draws the weights, and the features before them, from a generator of their own

    Raises ValueError for an unknown name, a size below 1, a gain that is not above 0 or a condition named by `hard` that cannot
    be met.

    >>> import pinntk, torch
    >>> network = MLP(pinntk.load("burgers"), width=8, depth=2, periodic="x")
    >>> network(torch.rand(5, 2)).shape
    torch.Size([5, 1])
    >>> network = MLP(pinntk.load("wave1d"), width=8, depth=2, hard="auto")
    >>> network.hard
    ('start', 'start_velocity', 'walls')
    """

    def _make(self, features: int, width: int, depth: int, outputs: int, dense: Callable[..., Dense]) -> None:
        self.dense = dense([features, *[width] * depth, outputs])

    def core(self, features: Tensor) -> Tensor:
        return self.dense(features)

    def extra_repr(self) -> str:
        weights = self.dense.weights
        sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
        return f"{sizes}, activation={self.dense.activation}, parametrization={self.dense.parametrization}"
