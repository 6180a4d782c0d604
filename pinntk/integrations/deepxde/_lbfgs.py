"""torch's L-BFGS when the loss weights change under it."""

from __future__ import annotations

import torch
from torch import Tensor


def forget_curvature(optimizer: torch.optim.LBFGS, gradient: Tensor) -> None:
    """What an L-BFGS has learned of the curvature of another loss is dropped; its counts of iterations stay.

    gradient: (p,) of the loss that it goes on with; its next direction is downhill on that, of length 1 at most
    """
    state = optimizer.state.get(optimizer.param_groups[0]["params"][0])
    if not state or not state.get("n_iter"):
        return
    state.update(old_dirs=[], old_stps=[], ro=[])
    state["d"] = torch.zeros_like(gradient)  # so that no pair is made of gradients of two losses
    state["t"] = 0.0
    state["prev_flat_grad"] = gradient.clone()
    state["H_diag"] = min(1.0, 1.0 / max(float(gradient.abs().sum()), torch.finfo(gradient.dtype).tiny))
