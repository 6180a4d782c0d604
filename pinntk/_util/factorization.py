"""Cholesky factors of matrices that rounding may have made indefinite."""

from __future__ import annotations

import torch
from torch import Tensor

from pinntk._util.threads import of_factorization, with_threads_for
from pinntk._util.warn import warn_user

_SMALLEST = -15  # decimal exponent of the first jitter


@with_threads_for(lambda K: of_factorization(K))
def cholesky(
    K: Tensor, what: str, *, unit: Tensor | None = None, damping: float = 0.0, largest: int = -8, advice: str = ""
) -> tuple[Tensor, float]:
    """The lower Cholesky factor of K + (damping + jitter) diag(unit), and the jitter: 0, or where rounding leaves an indefinite
    matrix the smallest of 1e-15, 1e-14, ... that helps, with a warning.

    K: (n, n), symmetric positive semi-definite
    what, advice: in the message, the name of the matrix and what the user can change
    unit: (n,) or one number, that of K's diagonal unless given
    largest: decimal exponent of the last jitter that is tried

    Raises torch.linalg.LinAlgError where none helps.
    """
    unit = K.diagonal() if unit is None else unit
    for jitter in (0.0, *(10.0**k for k in range(_SMALLEST, largest + 1))):
        L, failed = torch.linalg.cholesky_ex(K + torch.diag(((damping + jitter) * unit).expand(len(K))))
        if not failed:
            if jitter:
                warn_user(f"{what} is singular to rounding: {jitter:.0e} of its diagonal was added{advice and f'; {advice}'}")
            return L, jitter
    raise torch.linalg.LinAlgError(f"{what} is not positive definite, even with {jitter:.0e} of its diagonal added")
