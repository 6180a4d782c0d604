"""DeepONet: operators as networks, u(y; a) = sum of products of a network of a and one of y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DeepONet(ScaledNetwork):
    r"""G(a)(y) = sum_k B_k(a) T_k(y) + b, k = 1 .. rank (Lu, Jin, Pang, Zhang & Karniadakis 2021, Nature Machine Intelligence).

    The branch B sees which function a is, by numbers: its values at sensors, or its coefficients. The trunk T, with an
    activation after its last layer, sees the place y. Both are MLPs. A row has a place and a function, so that a DeepONet is a
    network like the others, of a problem whose domain has the family's parameters for coordinates,

        Box(x=(0, 1)) * Box.of_parameters(c1=(-1, 1), c2=(-1, 1))

    whose equations are then asked for throughout the family (Wang, Wang & Perdikaris 2021, Science Advances 7:eabi8605), and
    `pinntk.kernel` is its kernel. `rows` makes such rows of sampled functions and places, and `pinntk.ntk.function_kernel` the
    kernel of those.

    sensors: what the branch sees: names of coordinates, by default the domain's parameters; or, without a problem, how many
        columns, the last ones
    rank: products in the sum
    width, depth: units in each hidden layer, number of hidden layers, of branch and trunk
    problem, normalize, inputs (all columns), outputs, activation, parametrization, initialization, beta, gain, factorized,
        adaptive_slopes, output_scales: as for `MLP`
    seed: draws branch, then trunk, from a generator of their own

    Maps (n, d) to (n, fields); each of several fields has products of its own. Raises ValueError for an unknown name, a size
    below 1, or where nothing is left for branch or trunk.

    >>> network = DeepONet(inputs=1 + 20, outputs=1, sensors=20, rank=4, width=8, depth=1, dtype=torch.float64)
    >>> a, y = torch.rand(3, 20, dtype=torch.float64), torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    >>> network.on_grid(a, y).shape  # three functions at five places
    torch.Size([3, 5, 1])
    >>> bool((network(network.rows(a, y)) - network.on_grid(a, y).flatten(0, 1)).abs().max() < 1e-14)
    True
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        sensors: Sequence[str] | int | None = None,
        rank: int = 32,
        width: int = 64,
        depth: int = 3,
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
        inputs, outputs = dimensions("DeepONet", problem, inputs, outputs)
        check_sizes(rank=rank, width=width, depth=depth)
        self.branch_axes = _branch_axes(problem, inputs, sensors)
        self.trunk_axes = [axis for axis in range(inputs) if axis not in self.branch_axes]
        generator = torch.Generator().manual_seed(seed)
        place: Any = {"dtype": dtype or torch.get_default_dtype(), "device": device}
        self.rank, self.outputs = rank, outputs
        self.branch = Dense([len(self.branch_axes), *[width] * depth, rank], generator, **place, **layers)
        trunk = [len(self.trunk_axes), *[width] * depth, rank * outputs]
        self.trunk = Dense(trunk, generator, ends_active=True, **place, **layers)
        self.bias = nn.Parameter(torch.zeros(outputs, **place))
        taken = self._take_scales(problem, inputs, normalize, asked, **place)
        self.config = {
            "sensors": sensors if sensors is None or isinstance(sensors, int) else list(sensors),
            "rank": rank,
            "width": width,
            "depth": depth,
            **self.trunk.options,
            **taken,
            "seed": seed,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        x = self._normalized(x)
        B, T = self.branch(x[:, self.branch_axes]), self.trunk(x[:, self.trunk_axes])  # (n, rank), (n, fields rank)
        sums = [(B * part).sum(1, keepdim=True) for part in T.chunk(self.outputs, 1)]
        return self._rescaled((sums[0] if self.outputs == 1 else torch.cat(sums, 1)) + self.bias)

    def on_grid(self, a: Tensor, y: Tensor) -> Tensor:
        """Every function at every place, branch and trunk evaluated once for each.

        a: (functions, sensors); y: (places, coordinates). Gives (functions, places, fields).
        """
        a, y = self._checked(a, y)
        mean, deviation = self.mean, self.deviation
        B = self.branch((a - mean[self.branch_axes]) / deviation[self.branch_axes])
        T = self.trunk((y - mean[self.trunk_axes]) / deviation[self.trunk_axes]).unflatten(1, (self.outputs, self.rank))
        return self._rescaled(torch.einsum("ak,yfk->ayf", B, T) + self.bias)

    def rows(self, a: Tensor, y: Tensor) -> Tensor:
        """What `forward` takes for every function at every place, one function after another: (functions * places, d)."""
        a, y = self._checked(a, y)
        found = y.new_empty(len(a), len(y), len(self.branch_axes) + len(self.trunk_axes))
        found[:, :, self.branch_axes] = a[:, None].to(found)
        found[:, :, self.trunk_axes] = y
        return found.flatten(0, 1)

    def _checked(self, a: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for name, given, axes in (("a", a, self.branch_axes), ("y", y, self.trunk_axes)):
            if given.ndim != 2 or given.shape[1] != len(axes):
                raise ValueError(f"{name} of shape {tuple(given.shape)}: expected (n, {len(axes)})")
        return a, y


def _branch_axes(problem: Problem | None, inputs: int, sensors: Any) -> list[int]:
    """Which columns the branch sees; the others are the trunk's."""
    if problem is None:
        check_sizes(sensors=sensors)
        axes = list(range(inputs - sensors, inputs))
    else:
        names = problem.domain.parameters if sensors is None else sensors
        if isinstance(names, (int, str)) or any(name not in problem.coordinates for name in names):
            raise ValueError(f"sensors={sensors!r}: names of coordinates; the domain has {problem.coordinates}")
        axes = [problem.domain.axis(name) for name in names]
    if not axes or len(set(axes)) != len(axes) or not 0 < len(axes) < inputs:
        columns = f"{inputs} columns" if problem is None else f"coordinates {problem.coordinates}"
        raise ValueError(
            f"DeepONet, sensors={sensors!r} of {columns}: some go to the branch and at least one to the trunk; a family of "
            "problems has its parameters for coordinates, as in Box(x=(0, 1)) * Box.of_parameters(c=(-1, 1))"
        )
    return axes
