"""The cases of rules that reduce, contract or move features, cast them or normalize them; `rule_cases` has the others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.rule_cases import CASES, CUBE, FULL, MASK, MATRIX, ROW, WHOLE, case, cubes, quietly, tensor

__all__ = ["CASES"]

# Reductions.
for keepdim in (False, True):
    case("sum mean prod var std norm", lambda f, h, k=keepdim: f(h, dim=1, keepdim=k))
    case("amax amin max min logsumexp", lambda f, h, k=keepdim: f(h, dim=-1, keepdim=k), "any")
    case("logsumexp amax amin", lambda f, h, k=keepdim: f(cubes(h), (1, 2), k))
    case("vector_norm", lambda f, h, k=keepdim: f(h, dim=1, keepdim=k), "any", "zeros")
    case("matrix_norm", lambda f, h, k=keepdim: f(cubes(h), keepdim=k), "any", "zeros")
    case("matrix_norm", lambda f, h, k=keepdim: f(cubes(h), "fro", (2, 1), k))
case("sum mean", lambda f, h: f(cubes(h), (1, 2)))
case("sum mean", lambda f, h: f(cubes(h), [-1], True))
case("sum mean prod", lambda f, h: f(h, 1, dtype=torch.float64))
case("sum", lambda f, h: f(h, axis=1))
case("prod", lambda f, h: f(h, 1), "zeros")
case("var std", lambda f, h: f(h, 1, False))
case("var std", lambda f, h: f(h, 1, unbiased=True, keepdim=True))
case("var std", lambda f, h: f(cubes(h), (1, 2), correction=2))
case("std", lambda f, h: f(torch.stack([h[:, 0]] * 3, 1), 1))  # no spread at all
case("norm", lambda f, h: f(h, dim=1), "zeros")
case("norm", lambda f, h: f(h, 1, 1), "any", "zeros")
case("norm vector_norm", lambda f, h: f(h, float("inf"), 1), "any", "zeros")
case("vector_norm", lambda f, h: f(h, 1, 1), "zeros")
case("vector_norm", lambda f, h: f(cubes(h), dim=(1, 2), dtype=torch.float64))
case("norm", lambda f, h: f(cubes(h), dim=(1, 2)))
case("norm", lambda f, h: f(cubes(h), "fro", (1, 2)))
case("norm", lambda f, h: f(cubes(h), "fro", (1, 2), True))
case("amax amin", lambda f, h: f(h, 1), "zeros", "kinks")
case("max min", lambda f, h: f(h, 1), "kinks")
case("max min", lambda f, h: f(h, h.flip(1)))
case("max min", lambda f, h: f(h, other=ROW))
case("softmax log_softmax softmin", lambda f, h: f(h, 1), "any", "large")
case("softmax log_softmax softmin", lambda f, h: f(cubes(h), dim=-2))
case("softmax log_softmax", lambda f, h: f(h, 1, dtype=torch.float64))
case("softmax log_softmax softmin", lambda f, h: quietly(f, h) if f.__module__ == F.__name__ else f(h, -1))

# Contractions.
case("linear", lambda f, h: f(h, MATRIX.T))
case("linear", lambda f, h: f(h, FULL, ROW))
case("linear", lambda f, h: f(h, FULL, ROW[:1]))
case("linear", lambda f, h: f(cubes(h), FULL, bias=ROW))
case("linear", lambda f, h: f(h, ROW))
case("mm dsmm spmm", lambda f, h: f(h, MATRIX))
case("bmm", lambda f, h: f(cubes(h), cubes(h.sin())))
case("bmm matmul", lambda f, h: f(cubes(h), torch.stack([FULL] * 4) * ROW.reshape(-1, 1, 1)))
case("matmul", lambda f, h: f(h, FULL))
case("matmul", lambda f, h: f(h, ROW))
case("matmul", lambda f, h: f(cubes(h), MATRIX))
case("matmul", lambda f, h: f(cubes(h), cubes(h.sin())))
case("matmul", lambda f, h: f(MATRIX.T, cubes(h)))
case("addmm", lambda f, h: f(ROW, h, FULL, beta=0.5, alpha=2))
case("addmm", lambda f, h: f(h, h.sin(), FULL))
case("addmm", lambda f, h: f(FULL * torch.nan, h, FULL, beta=0))
case("vecdot", lambda f, h: f(h, h.sin()))
case("vecdot", lambda f, h: f(cubes(h), FULL, dim=1))
case("bilinear", lambda f, h: f(h, h.sin(), CUBE, ROW[:3]))
case("bilinear", lambda f, h: f(cubes(h), cubes(h.sin()), CUBE))
case("einsum", lambda f, h: f("ni,ijk->njk", h, CUBE.permute(1, 0, 2)))
case("einsum", lambda f, h: f("ij, ni -> nj", FULL, h))
case("einsum", lambda f, h: f("ni,ni->n", h, h.sin()))
case("einsum", lambda f, h: f("ni,nj->nij", h, FULL))
case("einsum", lambda f, h: f("nij,njk->nik", cubes(h), cubes(h.sin())))
case("einsum", lambda f, h: f("ni,oij,j->no", [h, CUBE, ROW]))

# Shapes.
case("reshape view", lambda f, h: f(h, (4, 2, 2)))
case("reshape view", lambda f, h: f(h, -1, 2, 2))
case("reshape", lambda f, h: f(h, shape=(4, -1, 1)))
case("view_as reshape_as", lambda f, h: f(cubes(h), tensor(4, 2, 8)))
case("flatten", lambda f, h: f(cubes(h), 1))
case("flatten", lambda f, h: f(cubes(h), start_dim=1, end_dim=-1))
case("flatten ravel", lambda f, h: f(h[:, :1]))
case("unflatten", lambda f, h: f(h, 1, (2, -1)))
case("unsqueeze", lambda f, h: f(h, 1))
case("unsqueeze", lambda f, h: f(h, dim=-1))
case("squeeze", lambda f, h: f(h[:, :1, None]))
case("squeeze", lambda f, h: f(h[:, :1, None], 1))
case("squeeze", lambda f, h: f(h[:, :1, None], (1, 2)))
case("squeeze", lambda f, h: f(h, 1))
case("transpose swapaxes swapdims", lambda f, h: f(cubes(h), 1, -1))
case("permute", lambda f, h: f(cubes(h), (0, 2, 1)))
case("permute", lambda f, h: f(cubes(h), 0, -1, 1))
case("movedim moveaxis", lambda f, h: f(cubes(h)[:, None], 1, -1))
case("movedim moveaxis", lambda f, h: f(cubes(h), (1, 2), (2, 1)))
case("expand", lambda f, h: f(h[:, :1], -1, 4))
case("expand broadcast_to", lambda f, h: f(h[:, :1], (4, 4)))
case("expand_as", lambda f, h: f(h[:, :1], FULL))
case("repeat", lambda f, h: f(h, 1, 2))
case("tile", lambda f, h: f(h, (2,)))
case("tile", lambda f, h: f(cubes(h), (1, 2, 1)))
case("repeat_interleave", lambda f, h: f(h, 2, dim=1))
case("repeat_interleave", lambda f, h: f(h, WHOLE, 1))
case("unbind", lambda f, h: f(h, 1))
case("unbind", lambda f, h: f(cubes(h), dim=-1))
case("split split_with_sizes", lambda f, h: f(h, [1, 3], 1))
case("split", lambda f, h: f(h, 3, dim=-1))
case("tensor_split", lambda f, h: f(h, 3, dim=1))
case("tensor_split", lambda f, h: f(h, (1, 2), 1))
case("chunk", lambda f, h: f(h, 2, -1))
case("narrow", lambda f, h: f(h, 1, 1, 2))
case("select", lambda f, h: f(h, 1, -1))
case("index_select", lambda f, h: f(h, 1, torch.tensor([3, 1, 1])))
case("gather", lambda f, h: f(h, 1, torch.stack([WHOLE, WHOLE.flip(0), WHOLE, WHOLE])))
case("flip", lambda f, h: f(cubes(h), (1, 2)))
case("flip", lambda f, h: f(h, dims=[-1]))
case("roll", lambda f, h: f(h, 1, 1))
case("roll", lambda f, h: f(cubes(h), shifts=(1, -1), dims=(1, 2)))
case("diff", lambda f, h: f(h))
case("diff", lambda f, h: f(cubes(h), 2, 1))
case("pad", lambda f, h: f(h, (1, 2)))
case("pad", lambda f, h: f(cubes(h), (1, 0, -1, 2), value=0.7))
case("__getitem__", lambda f, h: f(h, (slice(None), 1)))
case("__getitem__", lambda f, h: f(h, (slice(None), [2, 0], None)))
case("__getitem__", lambda f, h: f(h, (Ellipsis, slice(1, None, 2))))
case("__getitem__", lambda f, h: f(h, (slice(0, 4), MASK[0])))
case("__getitem__", lambda f, h: f(cubes(h), (slice(None), WHOLE, WHOLE)))
case("__getitem__", lambda f, h: f(cubes(h), (slice(None), torch.tensor(1), WHOLE)))
case("__getitem__", lambda f, h: f(cubes(h), (slice(None), MASK)))
case("__getitem__", lambda f, h: f(cubes(h), (..., FULL > 0)))
case("cat concat concatenate", lambda f, h: f([h, FULL, h * h], 1))
case("cat concat concatenate", lambda f, h: f((h, WHOLE.expand(4, 4)), dim=-1))
case("cat", lambda f, h: f([FULL, h], axis=1))
case("hstack", lambda f, h: f([h, FULL]))
case("dstack", lambda f, h: f([h, FULL, h]))
case("dstack", lambda f, h: f([cubes(h), cubes(h.sin())]))
case("column_stack", lambda f, h: f([h[:, 0], FULL, h]))
case("stack", lambda f, h: f([h, FULL], 1))
case("stack", lambda f, h: f([h, h * h], dim=-1))
case("stack", lambda f, h: f([h[:, 0], ROW], -1))

# Copies and casts.
case("to", lambda f, h: f(h, torch.float64))
case("to", lambda f, h: f(h, "cpu", torch.int64))
case("to", lambda f, h: f(h, FULL))
case("type", lambda f, h: f(h, torch.float64))
case("type_as", lambda f, h: f(h, FULL))
case("type_as", lambda f, h: f(h, WHOLE))
case("double long int short bool cpu", lambda f, h: f(h), "kinks")
case("zeros_like ones_like", lambda f, h: f(h))
case("empty_like rand_like randn_like", lambda f, h: torch.tensor(f(h).shape))
case("full_like", lambda f, h: f(h, 0.5))
case("is_floating_point is_complex", lambda f, h: torch.tensor(f(h)))

# Normalizations and dropout.
MEAN, VAR = tensor(4, seed=3), tensor(4, seed=4).square() + 0.5
case("layer_norm", lambda f, h: f(h, (4,), ROW, ROW.flip(0), 1e-3))
case("layer_norm", lambda f, h: f(cubes(h), [4, 4], FULL))
case("layer_norm", lambda f, h: f(h, normalized_shape=[4]), "any", "zeros")
case("rms_norm", lambda f, h: f(h, (4,), ROW))
case("rms_norm", lambda f, h: f(cubes(h), (4, 4), None, 0.1))
case("group_norm", lambda f, h: f(h, 2, ROW, ROW.flip(0)))
case("group_norm", lambda f, h: f(cubes(h), num_groups=2, weight=ROW, eps=1e-2))
case("local_response_norm", lambda f, h: f(cubes(h), 3, 0.3))
case("local_response_norm", lambda f, h: f(cubes(h).unsqueeze(3), 2, alpha=0.3, beta=0.5, k=2.0))
case("normalize", lambda f, h: f(h))
case("normalize", lambda f, h: f(h, eps=0.1), "zeros", oracle=lambda h: directed(h))  # torch: NaN in the second derivative
case("normalize", lambda f, h: f(cubes(h), 1.0, -1, eps=0.1))
case("cosine_similarity", lambda f, h: f(h, h.flip(1)))
cosine = lambda h: (directed(h) * directed(h.flip(1))).sum(1)  # noqa: E731
case("cosine_similarity", lambda f, h: f(h, h.flip(1), eps=0.1), "zeros", oracle=cosine)
case("cosine_similarity", lambda f, h: f(cubes(h), FULL, -1, 0.1))
case("cosine_similarity", lambda f, h: f(cubes(h), FULL, 1))
case("cosine_similarity", lambda f, h: f(FULL[:, :1], h, dim=-1))
case("cosine_similarity", lambda f, h: f(h, ROW))
case("pairwise_distance", lambda f, h: f(h, ROW))
case("pairwise_distance", lambda f, h: f(h, FULL))
case("pairwise_distance", lambda f, h: f(h, h.flip(1), 1.0, 0.1, True))


def directed(h: Tensor) -> Tensor:
    """h / max(|h|, 0.1)."""
    zero = (h == 0).all(1, keepdim=True)
    return h / torch.where(zero, 0.1, torch.where(zero, torch.ones_like(h), h).norm(dim=1, keepdim=True))


def by_spelling(functional: Callable, native: Callable) -> Callable:
    """torch and torch.nn.functional order the arguments of some functions differently."""
    return lambda f, h: functional(f, h) if getattr(f, "__module__", None) == F.__name__ else native(f, h)


for shaped in (lambda h: h, cubes, lambda h: cubes(h).unflatten(2, (2, 2))):
    case(
        "batch_norm",
        by_spelling(
            lambda f, h, s=shaped: f(s(h), MEAN, VAR, ROW, bias=ROW.flip(0), training=False, eps=1e-3),
            lambda f, h, s=shaped: f(s(h), ROW, ROW.flip(0), MEAN, VAR, False, 0.1, 1e-3, True),
        ),
    )
for shaped in (cubes, lambda h: cubes(h).unflatten(2, (2, 2))):
    case(
        "instance_norm",
        by_spelling(
            lambda f, h, s=shaped: f(s(h), weight=ROW, bias=ROW.flip(0), eps=1e-3),
            lambda f, h, s=shaped: f(s(h), ROW, ROW.flip(0), None, None, True, 0.1, 1e-3, True),
        ),
    )
case(
    "instance_norm",
    by_spelling(
        lambda f, h: f(cubes(h), MEAN, VAR, use_input_stats=False),
        lambda f, h: f(cubes(h), None, None, MEAN, VAR, False, 0.1, 1e-5, True),
    ),
)
case(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout",
    lambda f, h: f(cubes(h), 0.5, False),
)
case("dropout", lambda f, h: f(h, 0.0, True))

BATCH_NORM = nn.BatchNorm1d(4).double().eval()
BATCH_NORM.running_mean.copy_(MEAN)
BATCH_NORM.running_var.copy_(VAR)
