"""The multilayer perceptron, in the standard and in the NTK parametrization."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pinntk.nn._embeddings import embedded_size, embeddings, parse_fourier, parse_harmonics
from pinntk.nn._hard import HardConditions, hard_conditions, parse_hard
from pinntk.nn._layers import Dense, NetworkOptions, check_sizes, dimensions, scale, split_options
from pinntk.nn._output import output_scales
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class MLP(ScaledNetwork):
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

    >>> import pinntk
    >>> network = MLP(pinntk.load("burgers"), width=8, depth=2, periodic="x")
    >>> network(torch.rand(5, 2)).shape
    torch.Size([5, 1])
    >>> network = MLP(pinntk.load("wave1d"), width=8, depth=2, hard="auto")
    >>> network.hard
    ('start', 'start_velocity', 'walls')
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
        inputs, outputs = dimensions("MLP", problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        normalize, mean, deviation = scale(problem, inputs, normalize)
        harmonics = parse_harmonics(periodic, problem)
        conditions = self._derive(problem, hard, harmonics, device)
        fourier = parse_fourier(fourier)
        dtype = dtype or torch.get_default_dtype()
        generator = torch.Generator().manual_seed(seed)
        intervals = ((0.0, 1.0),) * inputs if problem is None else problem.domain.bounds  # not needed without a problem
        bounds = torch.tensor(intervals, dtype=torch.float64)
        by_axis, levels = _by_axis(problem, harmonics, conditions)
        mean[list(by_axis)], deviation[list(by_axis)] = 0, 1  # `Periodic` takes these coordinates as they are
        amplitude = sqrt(2) if normalize else 1.0
        self.embeddings = embeddings(bounds, by_axis, amplitude, fourier, generator, levels).to(device, dtype)
        features = embedded_size(self.embeddings, inputs)
        self.dense = Dense([features, *[width] * depth, outputs], generator, dtype=dtype, device=device, **layers)
        prescribed = () if conditions is None or problem is None else conditions.prescribed(problem)
        sizes_of_fields = output_scales(asked, problem, normalize, prescribed, device)
        self._set_scales(mean, deviation, sizes_of_fields, problem, dtype=dtype, device=device)
        self.config: dict[str, Any] = {
            "width": width,
            "depth": depth,
            **self.dense.options,
            "normalize": normalize,
            "periodic": harmonics or None,
            "fourier": fourier,
            "hard": None if conditions is None else list(self.hard),
            "output_scales": self.output_scales,
            "seed": seed,
        }

    def _derive(
        self, problem: Problem | None, hard: Any, harmonics: Collection[str], device: torch.device | str | None
    ) -> HardConditions | None:
        """What `hard` asks for; None for nothing. `hard`, `soft` and `constraint` say what came of it."""
        asked = parse_hard(hard, problem)
        found = None
        if asked is not None and problem is not None:
            found = hard_conditions(problem, asked, repeated=harmonics, device=device)
        self.hard: tuple[str, ...] = () if found is None else found.met
        self.soft: Mapping[str, str] = {} if found is None else found.left
        self.constraint = found if found is not None and found.has_values else None
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        values = self._rescaled(self.dense(self.features(x)))
        return values if self.constraint is None else self.constraint(x, values)

    def features(self, x: Tensor) -> Tensor:
        """What the first layer receives: (n, d) -> (n, features)."""
        return self.embeddings(self._normalized(x))

    def extra_repr(self) -> str:
        weights = self.dense.weights
        sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
        return f"{sizes}, activation={self.dense.activation}, parametrization={self.dense.parametrization}"


def _by_axis(
    problem: Problem | None, harmonics: Mapping[str, int], conditions: HardConditions | None
) -> tuple[dict[int, int], dict[int, int]]:
    """{axis: harmonics} of what repeats by choice or by a condition, and {axis: continuous derivatives} where not all do."""
    if problem is None:
        return {}, {}
    repeated = {} if conditions is None else conditions.repeated
    levels = {problem.domain.axis(name): level for name, level in repeated.items() if level is not None}
    return {problem.domain.axis(name): count for name, count in {**dict.fromkeys(repeated, 1), **harmonics}.items()}, levels
