"""Muon for matrices, and AdamW for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

_TORCHS: Any = getattr(torch.optim, "Muon", None)  # since torch 2.9


class Muon(Optimizer):
    """Matrices move along the nearest orthogonal matrix to their momentum, by `torch.optim.Muon`; all else by AdamW.

    lr: of both: an orthogonal step is made as large as AdamW's ("match_rms_adamw", Liu et al. 2025), unless `adjust_lr_fn` says
        otherwise
    weight_decay: of both; 0 by default, since a solution has no reason to have small weights
    betas, eps: of AdamW
    options: further ones of torch.optim.Muon, such as momentum, nesterov and ns_steps

    Matrices are parameters of two dimensions, also those of the first and last layer; complex ones are AdamW's. Torch
    orthogonalizes in bfloat16. Raises RuntimeError where torch is older than 2.9, which has no Muon.

    Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), Liu et al. 2025 (arXiv 2502.16982).

    >>> layer = torch.nn.Linear(3, 2)
    >>> optimizer = Muon(layer.parameters(), lr=0.01)
    >>> layer(torch.ones(1, 3)).sum().backward()
    >>> optimizer.step()
    >>> [tuple(p.shape) for group in optimizer.param_groups for p in group["params"]]
    [(2, 3), (2,)]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adjust_lr_fn: str = "match_rms_adamw",
        **options: Any,
    ):
        if _TORCHS is None:
            raise RuntimeError(f"muon needs torch 2.9 or newer, and this is {torch.__version__}: pip install -U torch")
        parameters = list(params)
        matrices = [p for p in parameters if p.ndim == 2 and not p.is_complex()]
        taken = {id(p) for p in matrices}
        rest = [p for p in parameters if id(p) not in taken]
        muon = {"lr": lr, "weight_decay": weight_decay, "adjust_lr_fn": adjust_lr_fn, **options}
        made: list[Optimizer] = [_TORCHS(matrices, **muon)] if matrices else []
        made += [AdamW(rest, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)] if rest else []
        self._made = made
        super().__init__([group for optimizer in made for group in optimizer.param_groups], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer, group in zip(self._made, self.param_groups, strict=True):
            optimizer.param_groups, optimizer.state = [group], self.state  # which a schedule or a checkpoint has changed
            optimizer.step()
        return loss
