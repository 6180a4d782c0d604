"""The slow, obvious oracle: nested reverse-mode autograd in float64, one row of the Jacobian at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinntk.geometry import Part


def relative(found: Tensor, expected: Tensor) -> float:
    """norm(found - expected) / norm(expected); the plain norm of the difference where nothing is expected."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    expected = expected.detach().double()
    scale = expected.norm()
    return float((found.detach().double().to(expected.device) - expected).norm() / (scale if scale > 0 else 1))


def derivative(network: nn.Module, points: Tensor, field: int, index: tuple[int, ...]) -> Tensor:
    """d^index of one output at (n, d) points, (n,), differentiable in the network's parameters."""
    x = points.detach().double().clone().requires_grad_()
    value = network(x)[:, field]
    for axis, times in enumerate(index):
        for _ in range(times):
            value = _slope(value, x)[:, axis]
    return value


def _slope(value: Tensor, x: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope


def errors(network: nn.Module, problem, points) -> dict[str, Tensor]:
    """The error vector (n,) of every condition in `points`."""
    found = {}
    for name, rows in points.items():
        condition, d = problem[name], problem.domain.dimension
        here, columns = rows[:, :d].double(), rows[:, d:].double()
        if condition.kind == "integral":
            found[name] = torch.stack([_integral(network, problem, condition, row) for row in rows.double()])
            continue
        error = _error(network, problem, condition, here, columns)
        if condition.kind == "periodic":
            axis = condition.region.axis
            there = here.clone()
            there[:, axis] = problem.domain.bounds[axis][1]
            error = error - _error(network, problem, condition, there, columns)
        found[name] = error
    return found


def _integral(network, problem, condition, row: Tensor) -> Tensor:
    """One integral: the sum over places of weights times what is integrated, less what it should be."""
    region = condition.region
    places = torch.as_tensor(region.quadrature.places).clone()
    for axis in region.kept:
        places[:, axis] = row[axis]
    values = _error(network, problem, condition, places, row[None, problem.domain.dimension :])
    return (torch.as_tensor(region.quadrature.weights) * values).sum() - (row[-1] if region.target is None else region.target)


def _error(network, problem, condition, points: Tensor, columns: Tensor) -> Tensor:
    arguments = {}
    for spec in problem.arguments[condition.name]:
        arguments[spec.argument] = _argument(network, problem, condition, spec, points, columns)
    return condition.operator(**arguments)


def _argument(network, problem, condition, spec, points: Tensor, columns: Tensor) -> Tensor:
    d, space = problem.domain.dimension, problem.domain.space

    def along(axis: int, times: int) -> Tensor:
        return derivative(network, points, spec.field, tuple(times * (i == axis) for i in range(d)))

    if spec.kind == "coordinate":
        return points[:, spec.axis]
    if spec.kind == "points":
        return points
    if spec.kind == "column":
        return columns[:, spec.axis]
    if spec.kind == "coefficient":
        return problem.coefficients[spec.argument].to(points)
    if spec.kind == "derivative":
        return derivative(network, points, spec.field, spec.index)
    if spec.kind == "laplacian":
        return torch.stack([along(axis, 2) for axis in space]).sum(0)
    if spec.kind == "component":
        return _normals(problem, condition, points)[:, spec.axis]
    gradient = torch.stack([along(axis, 1) for axis in space], 1)
    if spec.kind == "gradient":
        return gradient
    assert spec.kind == "normal", spec.kind
    return (gradient * _normals(problem, condition, points)[:, space]).sum(1)


def _normals(problem, condition, points: Tensor) -> Tensor:
    """Of a part of a curved boundary those of the part, which tests/geometry compares with Gauss's theorem and by hand."""
    region = condition.region.over if condition.kind == "integral" else condition.region
    if isinstance(region, Part):
        return region.normals(points)
    return torch.stack([_normal(problem, condition, point) for point in points])


def _normal(problem, condition, point: Tensor) -> Tensor:
    """Outward: along the fixed coordinate of the first face that holds the point."""
    normal = torch.zeros_like(point)
    for ((axis, value),) in condition.region.pieces:
        if abs(float(point[axis]) - value) < 1e-6:
            normal[axis] = 1.0 if value == problem.domain.bounds[axis][1] else -1.0
            return normal
    raise AssertionError(f"{point} lies on no face of {condition.name}")


def rows(e: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """d e / d theta of any error vector, (n, p), one backward pass for every row; a complex entry counts as two."""
    found = []
    for one in e.flatten():
        gradients = torch.autograd.grad(one, list(parameters.values()), retain_graph=True, allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), gradients, strict=True)]
        found.append(torch.cat([(torch.view_as_real(g.resolve_conj()) if g.is_complex() else g).flatten() for g in filled]))
    return torch.stack(found)


def jacobian(network: nn.Module, problem, points) -> dict[str, Tensor]:
    """{condition: (n, p)}, columns: the network's trained parameters, then the problem's coefficients."""
    trained = [p for p in [*network.parameters(), *problem.coefficients.values()] if p.requires_grad]
    result = {}
    for name, error in errors(network, problem, points).items():
        rows = []
        for one in error:
            gradients = torch.autograd.grad(one, trained, retain_graph=True, allow_unused=True, materialize_grads=True)
            rows.append(torch.cat([gradient.flatten().to(points[name].device) for gradient in gradients]))
        result[name] = torch.stack(rows)
    return result


def kernel(network: nn.Module, problem, points) -> Tensor:
    """K = J J^T, (n, n), conditions in the order of `points`."""
    J = torch.cat(list(jacobian(network, problem, points).values()))
    return J @ J.T
