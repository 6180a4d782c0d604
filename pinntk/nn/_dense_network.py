"""Embedded networks whose core is made of dense layers: what MLP, ModifiedMLP and PirateNet are told, and how they begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DenseNetwork(EmbeddedNetwork):
    """`MLP` says what the arguments mean. A subclass has `core`, and makes its layers in `_make`.

    dense: the layers that the network ends with
    """

    dense: Dense

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
        inputs, outputs = dimensions(type(self).__name__, problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        generator = torch.Generator().manual_seed(seed)
        place: Any = {"dtype": dtype, "device": device}
        features, embedded = self._embed(
            problem, inputs, generator, normalize=normalize, periodic=periodic, fourier=fourier, hard=hard, asked=asked, **place
        )
        self._make(features, width, depth, outputs, partial(Dense, generator=generator, **place, **layers))
        self.config = {"width": width, "depth": depth, **self.dense.options, **embedded, "seed": seed}

    def _make(self, features: int, width: int, depth: int, outputs: int, dense: Callable[..., Dense]) -> None:
        """Makes the layers, in the order in which they are drawn, `dense` last.

        dense: makes layers of the sizes given, with what the network was told of layers
        """
        raise NotImplementedError

    def last_layer(self) -> list[nn.Parameter]:
        return [self.dense.weights[-1], self.dense.biases[-1]]
