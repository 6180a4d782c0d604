"""The scripts of plain_scripts/ as `pinntk.wrap` takes them, and the same problems in pinntk's operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn, pi, sin
from torch.func import vmap

import pinntk
from pinntk import Box, Problem, boundary, data, initial, periodic, residual

Variables = dict[str, Any]
IN_T_X, IN_X_T, SQUARE = Box(t=(0, 1), x=(0, 1)), Box(x=(0, 1), t=(0, 1)), Box(x=(0, 1), y=(0, 1))


class Wrap(NamedTuple):
    """conditions and options: of `pinntk.wrap`; own: the same in pinntk; names: {condition: that of own}."""

    model: nn.Module
    conditions: Mapping[str, tuple]
    options: dict[str, Any]
    own: Problem
    names: Mapping[str, str]


def advection_marching(s: Variables) -> Wrap:
    net, features, target, domain = s["net"], s["features"], s["target"], Box(t=(0, 1), x=(0, 2 * np.pi))

    def u(t, x):
        return net(features(t, x))

    @residual(domain)
    def pde(u_t, u_x):
        return u_t + s["SPEED"] / s["WINDOWS"] * u_x

    @initial(domain.at(t=0))
    def start(u):
        return u

    conditions = {
        "pde": (s["residual"], (s["t"], s["x"]), "residual"),
        "start": (lambda t, x: u(t, x) - target, (0 * s["x0"], s["x0"]), "initial"),
    }
    return Wrap(net, conditions, {"domain": domain, "output": u}, Problem(domain, [pde, start]), {})


def allen_cahn_resnet(s: Variables) -> Wrap:
    model, domain = s["model"], Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def pde(u, u_t, u_xx):
        return u_t - 1e-4 * u_xx + 5 * u**3 - 5 * u

    @initial(domain.at(t=0))
    def start(u, x):
        return u - x**2 * torch.cos(pi * x)

    conditions = {
        "pde": (s["residual"], (s["t_f"], s["x_f"]), "residual"),
        "start": (lambda t, x: model(t, x) - x**2 * torch.cos(pi * x), (0 * s["x_i"], s["x_i"]), "initial"),
    }
    return Wrap(model, conditions, {"domain": domain}, Problem(domain, [pde, start]), {})


def burgers_class(s: Variables) -> Wrap:
    m, domain = s["model"], Box(x=(-1, 1), t=(0, 1))

    @residual(domain)
    def f(u, u_t, u_x, u_xx):
        return u_t + u * u_x - m.nu * u_xx

    seen = data(domain, torch.cat([m.x_u, m.t_u], 1).detach(), value=m.u.squeeze(1))(lambda u, value: u - value)
    conditions = {
        "f": (m.net_f, (m.x_f, m.t_f), "residual"),
        "seen": (lambda x, t: m.net_u(x, t) - m.u, (m.x_u, m.t_u), "data"),
    }
    return Wrap(m.dnn, conditions, {"domain": domain, "output": m.net_u}, Problem(domain, [f, seen]), {"seen": "<lambda>"})


def darcy_two_networks(s: Variables) -> Wrap:
    velocity, pressure = s["velocity"], s["pressure"]

    def own_k(x, y):
        return 1 + 0.5 * sin(3 * x) * torch.cos(2 * y)

    @residual(SQUARE)
    def darcy_x(u, p_x, x, y):
        return u + own_k(x, y) * p_x

    @residual(SQUARE)
    def darcy_y(v, p_y, x, y):
        return v + own_k(x, y) * p_y

    @residual(SQUARE)
    def mass(u_x, v_y):
        return u_x + v_y

    @boundary(SQUARE.at(x=0))
    def inlet(p):
        return p - 1

    @boundary(SQUARE.at(y=0))
    def floor(v):
        return v

    conditions = {
        "darcy": (s["darcy"], s["xy"], "residual"),
        "mass": (s["mass"], s["xy"], "residual"),
        "inlet": (lambda xy: pressure(xy) - 1, s["left"], "boundary"),
        "floor": (lambda xy: velocity(xy)[:, 1], s["floor"], "boundary"),
    }
    options = {
        "domain": SQUARE,
        "output": lambda xy: torch.cat([velocity(xy), pressure(xy)], 1),
        "fields": ("u", "v", "p"),
    }
    own = Problem(SQUARE, [darcy_x, darcy_y, mass, inlet, floor], fields=("u", "v", "p"))
    return Wrap(nn.ModuleList([velocity, pressure]), conditions, options, own, {"darcy[0]": "darcy_x", "darcy[1]": "darcy_y"})


def heat_minibatches(s: Variables) -> Wrap:
    net = s["net"]

    @residual(IN_X_T)
    def heat(u_t, u_xx):
        return u_t - 0.1 * u_xx

    @initial(IN_X_T.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @boundary(IN_X_T.ends("x"))
    def walls(u):
        return u

    conditions = {
        "heat": (s["residual"], (s["x"], s["t"]), "residual"),
        "start": (lambda x, t: net(x, t) - sin(pi * x), (s["x0"], 0 * s["x0"]), "initial"),
        "walls": (net, (s["xb"], s["tb"]), "boundary"),
    }
    return Wrap(net, conditions, {"domain": IN_X_T}, Problem(IN_X_T, [heat, start, walls]), {})


def helmholtz_fourier(s: Variables) -> Wrap:
    pinn, domain = s["pinn"], Box(x=(-1, 1), y=(-1, 1))

    def errors(X):
        u = pinn(X)
        return s["laplacian"](u, X) + u - s["source"](X)

    @residual(domain)
    def inside(u, lap_u, x, y):
        f = (1 - pi**2 * (s["A1"] ** 2 + s["A2"] ** 2)) * sin(s["A1"] * pi * x) * sin(s["A2"] * pi * y)
        return lap_u + u - f

    @boundary(domain.boundary())
    def edge(u):
        return u

    conditions = {"inside": (errors, s["inside"], "residual"), "edge": (pinn, s["edge"], "boundary")}
    return Wrap(pinn, conditions, {"domain": domain}, Problem(domain, [inside, edge]), {})


def inverse_diffusion(s: Variables) -> Wrap:
    net, log_D = s["net"], s["log_D"]

    @residual(IN_X_T)
    def pde(u_t, u_xx, x, t, log_D):
        return u_t - torch.exp(log_D) * u_xx - torch.exp(-t) * sin(pi * x) * (0.2 * pi**2 - 1)

    seen = data(IN_X_T, s["xt"], value=s["seen"].squeeze(1))(lambda u, value: u - value)
    conditions = {
        "pde": (s["pde"], (s["x"], s["t"]), "residual"),
        "seen": (lambda X: net(X) - s["seen"], s["xt"], "data"),
    }
    options = {"domain": IN_X_T, "coefficients": {"log_D": log_D}}
    own = Problem(IN_X_T, [pde, seen], coefficients={"log_D": log_D})
    return Wrap(net, conditions, options, own, {"seen": "<lambda>"})


def navier_stokes_trainer(s: Variables) -> Wrap:
    model, domain = s["trainer"].model, Box(x=(-0.5, 1), y=(-0.5, 1.5))

    @residual(domain)
    def momentum_x(u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - lap_u / model.Re

    @residual(domain)
    def momentum_y(u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - lap_v / model.Re

    @residual(domain)
    def mass(u_x, v_y):
        return u_x + v_y

    @boundary(domain.boundary())
    def edge_u(u):
        return u

    @boundary(domain.boundary())
    def edge_p(p):
        return p

    inside, edge = s["trainer"].sample(8)
    conditions = {
        "flow": (model.residuals, inside, "residual"),
        "edge": (lambda X: model(X) - s["exact"](X), edge, "boundary"),
    }
    options = {"domain": domain, "fields": ("u", "v", "p")}
    own = Problem(domain, [momentum_x, momentum_y, mass, edge_u, edge_p], fields=("u", "v", "p"))
    names = {"flow[0]": "momentum_x", "flow[1]": "momentum_y", "flow[2]": "mass", "edge[0]": "edge_u", "edge[2]": "edge_p"}
    return Wrap(model, conditions, options, own, names)


def poisson_lbfgs(s: Variables) -> Wrap:
    model = s["model"]

    @residual(SQUARE)
    def pde(lap_u, x, y):
        return lap_u + 2 * pi**2 * sin(pi * x) * sin(pi * y)

    @boundary(SQUARE.boundary())
    def walls(u):
        return u

    conditions = {
        "pde": (lambda X: s["pde"](X) - s["f"].detach(), s["X"], "residual"),
        "walls": (model, s["X_b"], "boundary"),
    }
    return Wrap(model, conditions, {"domain": SQUARE}, Problem(SQUARE, [pde, walls]), {})


def schrodinger(s: Variables) -> Wrap:
    net, domain = s["net"], Box(x=(-5, 5), t=(0, np.pi / 2))

    def start(x, t):
        u, v, _, _ = s["net_uv"](x, t)
        return torch.cat([u - 2 / torch.cosh(x), v], 1)

    def walls(x, t):
        left, right = s["net_uv"](x, t), s["net_uv"](x + 10, t)
        return [a - b for a, b in zip(left, right, strict=True)]

    @residual(domain)
    def real(u, v, u_t, v_xx):
        return u_t + 0.5 * v_xx + (u**2 + v**2) * v

    @residual(domain)
    def imaginary(u, v, v_t, u_xx):
        return v_t - 0.5 * u_xx - (u**2 + v**2) * u

    @initial(domain.at(t=0))
    def start_u(u, x):
        return u - 2 / torch.cosh(x)

    @periodic(domain.ends("x"))
    def same(u):
        return u

    @periodic(domain.ends("x"))
    def same_slope(v_x):
        return v_x

    conditions = {
        "equation": (s["net_f_uv"], (s["xf"], s["tf"]), "residual"),
        "start": (start, (s["x0"], s["t0"]), "initial"),
        "walls": (walls, (s["x_lb"], s["tb"]), "periodic"),
    }
    options = {
        "domain": domain,
        "fields": ("u", "v"),
        "output": lambda x, t: net(torch.cat([x / 5, 4 * t / np.pi - 1], 1)),
    }
    own = Problem(domain, [real, imaginary, start_u, same, same_slope], fields=("u", "v"))
    names = {
        "equation[0]": "real",
        "equation[1]": "imaginary",
        "start[0]": "start_u",
        "walls[0]": "same",
        "walls[3]": "same_slope",
    }
    return Wrap(net, conditions, options, own, names)


def wave_functional(s: Variables) -> Wrap:
    model = s["model"]

    def each(function: Callable) -> Callable:
        return lambda z: vmap(function, (None, 0))(dict(model.named_parameters()), z)

    @residual(IN_X_T)
    def wave(u_tt, u_xx):
        return u_tt - s["C"] ** 2 * u_xx

    @initial(IN_X_T.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @initial(IN_X_T.at(t=0))
    def velocity(u_t):
        return u_t

    @boundary(IN_X_T.ends("x"))
    def walls(u):
        return u

    conditions = {
        "wave": (each(s["residual"]), s["z"], "residual"),
        "start": (lambda z: each(s["u"])(z) - sin(pi * z[:, 0]), s["start"], "initial"),
        "velocity": (each(s["velocity"]), s["start"], "initial"),
        "walls": (each(s["u"]), s["walls"], "boundary"),
    }
    return Wrap(model, conditions, {"domain": IN_X_T}, Problem(IN_X_T, [wave, start, velocity, walls]), {})


WRAPS: dict[str, Callable[[Variables], Wrap]] = {
    made.__name__: made
    for made in (
        advection_marching,
        allen_cahn_resnet,
        burgers_class,
        darcy_two_networks,
        heat_minibatches,
        helmholtz_fourier,
        inverse_diffusion,
        navier_stokes_trainer,
        poisson_lbfgs,
        schrodinger,
        wave_functional,
    )
}


def wrapped(wrap: Wrap) -> tuple[nn.Module, Problem, dict[str, torch.Tensor]]:
    return pinntk.wrap(wrap.model, wrap.conditions, **wrap.options)
