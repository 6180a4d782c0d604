"""Small DeepXDE models, one for each thing that a DeepXDE model can have. Every function gives a fresh, compiled model."""

import random

import deepxde as dde
import numpy as np
import torch


def net(inputs=1, outputs=1, width=12, depth=2):
    torch.manual_seed(0)
    return dde.nn.FNN([inputs] + [width] * depth + [outputs], "tanh", "Glorot uniform")


def compiled(data, network=None, optimizer="adam", **settings):
    model = dde.Model(data, network or net())
    settings = {"lr": 1e-3, **settings} if optimizer != "L-BFGS" else settings
    model.compile(optimizer, verbose=0, **settings)
    return model


def poisson(x, y):
    return -dde.grad.hessian(y, x) - np.pi**2 * torch.sin(np.pi * x)


def sine(x):
    return np.sin(np.pi * x)


def interval(conditions, n=20, pde=poisson, **settings):
    return dde.data.PDE(dde.geometry.Interval(-1, 1), pde, conditions, num_domain=n, num_boundary=2, **settings)


LINE = dde.geometry.Interval(-1, 1)


def left(x, on):
    return on and x[0] < 0


def right(x, on):
    return on and x[0] > 0


def dirichlet(optimizer="adam", **settings):
    bc = dde.icbc.DirichletBC(LINE, sine, lambda x, on: on)
    return compiled(interval(bc, solution=sine), optimizer=optimizer, **settings)


def neumann_robin_periodic():
    conditions = [
        dde.icbc.NeumannBC(LINE, lambda x: 2 * (x + 1), right),
        dde.icbc.RobinBC(LINE, lambda x, y: y, left),
        dde.icbc.PeriodicBC(LINE, 0, left, derivative_order=0),
        dde.icbc.PeriodicBC(LINE, 0, left, derivative_order=1),
    ]
    return compiled(interval(conditions))


def points_and_operators():
    at = np.linspace(-1, 1, 7)[:, None]
    conditions = [
        dde.icbc.PointSetBC(at, np.hstack([sine(at), at]), component=[0, 1]),
        dde.icbc.OperatorBC(LINE, lambda x, y, _: dde.grad.jacobian(y, x, i=0, j=0) * y[:, 1:2], lambda x, on: on),
        dde.icbc.PointSetOperatorBC(at[:5], sine(at[:5]), lambda x, y, _: y[:, 0:1] * y[:, 1:2]),
    ]

    def pde(x, y):
        return dde.grad.hessian(y, x, component=0) + y[:, 1:2]

    return compiled(interval(conditions, pde=pde), net(outputs=2))


def heat(n=24):
    np.random.seed(0)
    space, time = dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1)
    region = dde.geometry.GeometryXTime(space, time)
    conditions = [
        dde.icbc.DirichletBC(region, lambda x: 0, lambda _, on: on),
        dde.icbc.IC(region, lambda x: np.sin(np.pi * x[:, 0:1]), lambda _, on: on),
    ]

    def pde(x, y):
        return dde.grad.jacobian(y, x, i=0, j=1) - 0.3 * dde.grad.hessian(y, x, i=0, j=0)

    data = dde.data.TimePDE(region, pde, conditions, num_domain=n, num_boundary=8, num_initial=8)
    return compiled(data, net(2))


def holed_system():
    """Two equations, each with its own conditions, on a rectangle without a disk."""
    outer, inner = dde.geometry.Rectangle([-1, -1], [1, 1]), dde.geometry.Disk([0, 0], 0.4)
    region = outer - inner
    conditions = [
        dde.icbc.DirichletBC(region, lambda x: x[:, 0:1], lambda x, on: on and outer.on_boundary(x), component=0),
        dde.icbc.NeumannBC(region, lambda x: x[:, 1:2], lambda x, on: on and inner.on_boundary(x), component=1),
    ]

    def pde(x, y):
        u_xx, u_yy = (dde.grad.hessian(y, x, component=0, i=i, j=i) for i in (0, 1))
        v_x = dde.grad.jacobian(y, x, i=1, j=0)
        return [u_xx + u_yy - y[:, 0:1] * v_x, v_x + dde.grad.jacobian(y, x, i=0, j=1)]

    np.random.seed(0)
    return compiled(dde.data.PDE(region, pde, conditions, num_domain=25, num_boundary=20), net(2, 2))


def transformed():
    """u = x (1 - x) N(features(x)): the boundary condition is met by construction, at x = 1 up to rounding."""
    region = dde.geometry.Interval(0, 1)
    bc = [
        dde.icbc.DirichletBC(region, lambda x: 0, lambda x, on: on),
        dde.icbc.PointSetBC(np.array([[0.3], [0.5], [0.6], [0.7]]), np.ones((4, 1))),
    ]
    network = net(2)
    network.apply_feature_transform(lambda x: torch.cat([torch.sin(x), torch.cos(x)], dim=1))
    network.apply_output_transform(lambda x, y: torch.sin(np.pi * x) * y)
    return compiled(dde.data.PDE(region, poisson, bc, num_domain=20, num_boundary=2), network)


def auxiliary():
    """A source term that is an auxiliary variable."""
    bc = dde.icbc.DirichletBC(LINE, sine, lambda x, on: on)

    def pde(x, y, source):
        return dde.grad.hessian(y, x) + source

    return compiled(interval(bc, pde=pde, auxiliary_var_function=lambda x: np.pi**2 * np.sin(np.pi * x)))


def drawing():
    """An equation and a condition that draw random numbers, to no effect."""

    def draw():
        return 0 * (np.random.random() + random.random() + torch.rand(()))

    bc = dde.icbc.OperatorBC(LINE, lambda x, y, _: y - torch.sin(np.pi * x) + draw(), lambda x, on: on)
    return compiled(interval(bc, pde=lambda x, y: poisson(x, y) + draw()))


def inverse():
    """A coefficient in the equation, and another in a condition."""
    D, flux = dde.Variable(2.0), dde.Variable(0.5)
    at = np.linspace(-1, 1, 6)[:, None]
    conditions = [
        dde.icbc.PointSetBC(at, sine(at)),
        dde.icbc.RobinBC(LINE, lambda x, y: flux * y, lambda x, on: on),
    ]

    def pde(x, y):
        return D * dde.grad.hessian(y, x) + np.pi**2 * torch.sin(np.pi * x)

    return compiled(interval(conditions, pde=pde), external_trainable_variables=[D, flux])


def parallel():
    """Subnetworks of their own for two fields, and anchors."""
    torch.manual_seed(0)
    network = dde.nn.PFNN([1, [8, 8], [8, 8], 2], "tanh", "Glorot uniform")
    bc = dde.icbc.DirichletBC(LINE, sine, lambda x, on: on)

    def pde(x, y):
        return -dde.grad.hessian(y, x, component=0) + y[:, 1:2]

    return compiled(interval(bc, pde=pde, anchors=np.linspace(-1, 1, 9)[:, None]), network)


def forward():
    """For dde.config.set_default_autodiff("forward"), in which derivatives come with functions."""
    np.random.seed(0)
    region = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1))
    conditions = [
        dde.icbc.DirichletBC(region, lambda x: 0, lambda _, on: on),
        dde.icbc.IC(region, lambda x: np.sin(np.pi * x[:, 0:1]), lambda _, on: on),
    ]

    def pde(x, y):
        return dde.grad.jacobian(y, x, i=0, j=1)[0] - 0.3 * y[0] * dde.grad.hessian(y, x, i=0, j=0)[0]

    data = dde.data.TimePDE(region, pde, conditions, num_domain=24, num_boundary=8, num_initial=8)
    return compiled(data, net(2))


def integral():
    """An integro-differential equation: an error depends on its point and on its quadrature points."""
    bc = dde.icbc.IC(dde.geometry.TimeDomain(0, 1), lambda x: 1.0, lambda _, on: on)

    def ide(x, y, int_mat):
        rhs = torch.mm(torch.as_tensor(int_mat), y)
        return (dde.grad.jacobian(y, x, i=0, j=0) + y)[: len(rhs)] - rhs

    data = dde.data.IDE(dde.geometry.TimeDomain(0, 1), ide, bc, 4, num_domain=8, num_boundary=2)
    return compiled(data)


MODELS = {
    made.__name__: made
    for made in (
        dirichlet,
        neumann_robin_periodic,
        points_and_operators,
        heat,
        holed_system,
        transformed,
        auxiliary,
        drawing,
        inverse,
        parallel,
        integral,
    )
}
