"""The JAX side of `benchmark_solvers.py`, run by the Python of an environment of its own: randngd and ssbroyden-optimistix
on a network, points and truth given as arrays, by their public API and Optimistix'.

    python benchmark_solvers_jax.py IN.npz SECONDS [SOLVER ...]

Prints one JSON line a solver: problem, solver, seed, versions, accepted steps, the seconds of the first two steps, which
compile, and the curve [[seconds, relative L2 error], ...], compiling included, measuring the error not. Seconds are CPU
time of the process, which is to have one core and one thread.
"""

import json
import os
import sys
import time
from importlib.metadata import version

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before jax is imported, or XLA talks

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import randngd
import ssbroyden_optimistix as sso
from jax.flatten_util import ravel_pytree


def network(parameters, x):
    for weight, bias in parameters[:-1]:
        x = jnp.tanh(weight @ x + bias)
    weight, bias = parameters[-1]
    return (weight @ x + bias)[0]


def second(f, x, axis):
    """The second derivative along an axis, by nested forward mode."""
    direction = jnp.eye(len(x))[axis]
    return jax.jvp(lambda y: jax.jvp(f, (y,), (direction,))[1], (x,), (direction,))[1]


def poisson(u, x):
    return -second(u, x, 0) - second(u, x, 1) - 2 * jnp.pi**2 * jnp.sin(jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1])


def burgers(u, x):
    u_t, u_x = jax.grad(u)(x)
    return u_t + u(x) * u_x - 0.01 / jnp.pi * second(u, x, 1)


RESIDUALS = {  # as in problems/: condition -> e(u, x) at one point
    "poisson2d": {"poisson": poisson, "walls": lambda u, x: u(x)},
    "burgers": {"burgers": burgers, "start": lambda u, x: u(x) + jnp.sin(jnp.pi * x[1]), "walls": lambda u, x: u(x)},
}


def natural_gradient(preconditioner, representation, **settings):
    def solver(terms, flat, seed):
        metric = randngd.metrics.gauss_newton(terms, flat, representation=representation)
        settings.setdefault("damping", randngd.EigenvalueDamping())
        return randngd.ngd_solver(preconditioner(metric, key=seed, **settings))

    return solver


def broyden(**settings):
    return lambda terms, flat, seed: sso.SSBroyden(rtol=0.0, atol=0.0, **settings)


SOLVERS = {  # name -> solver(terms, parameters, seed)
    "randngd": natural_gradient(randngd.NGDFull, "full"),
    "randngd lm": natural_gradient(randngd.NGDFull, "full", damping=randngd.LevenbergMarquardt()),
    "randngd nystrom": natural_gradient(
        randngd.NystromNGD, "jacobians", ell_max=100, damping=randngd.EigenvalueDamping(power_iters=None)
    ),
    "ssbroyden-optimistix": broyden(alpha="search", initial_scaling=False),  # those of its authors' paper
    "ssbroyden-optimistix default": broyden(),
    "ssbroyden-optimistix increase": broyden(search=sso.Zoom(initial_guess_strategy="increase")),
}


def run(name, given, seconds):
    """{"steps", "compile", "curve"} of one solver."""
    problem, seed = str(given["problem"]), int(given["seed"])
    arrays = [jnp.asarray(given[f"p{i}"]) for i in range(sum(key[0] == "p" and key[1:].isdigit() for key in given))]
    start, unravel = ravel_pytree(list(zip(arrays[::2], arrays[1::2], strict=True)))
    mean, deviation, x, truth = (jnp.asarray(given[key]) for key in ("mean", "deviation", "test", "truth"))

    def u_of(flat):
        return lambda y: network(unravel(flat), (y - mean) / deviation)

    terms = [
        (lambda flat, y, e=e: e(u_of(flat), y), jnp.asarray(given[f"points {condition}"]), float(given[f"weight {condition}"]))
        for condition, e in RESIDUALS[problem].items()
    ]

    def loss(flat, _):  # sum_t w_t / 2 sum_i r_t(x_i)^2, as randngd's metrics want it
        return sum(w / 2 * jnp.sum(jax.vmap(lambda y, e=e: e(flat, y))(points) ** 2) for e, points, w in terms), None

    @jax.jit
    def error(flat):
        return jnp.linalg.norm(jax.vmap(u_of(flat))(x) - truth) / jnp.linalg.norm(truth)

    def measure(flat):
        """The clock stands still meanwhile."""
        nonlocal paused
        before = time.process_time()
        curve.append((round(before - paused, 4), float(error(flat))))
        paused += time.process_time() - before

    curve, steps, accepted, compiled, paused = [], 0, 0, 0.0, time.process_time()
    solver = SOLVERS[name](terms, start, seed)
    fixed = {"fn": loss, "args": None, "options": {}, "tags": frozenset()}
    step = eqx.filter_jit(eqx.Partial(solver.step, **fixed))
    flat, done = start, False
    measure(flat)
    state = solver.init(loss, flat, None, {}, jax.ShapeDtypeStruct((), flat.dtype), None, frozenset())
    while not done and time.process_time() - paused < seconds:
        flat, state, _ = step(y=flat, state=state)
        done = bool(state.terminate)
        steps += 1
        compiled = time.process_time() - paused if steps <= 2 else compiled  # the second step is traced anew
        if int(state.num_accepted_steps) >= accepted + 5:
            accepted = int(state.num_accepted_steps)
            measure(flat)
    measure(flat)
    return {"steps": accepted, "compile": round(compiled, 2), "curve": curve}


def main():
    with np.load(sys.argv[1]) as file:
        given = dict(file)
    packages = {name: version(name) for name in ("jax", "randngd", "ssbroyden-optimistix")}
    for name in sys.argv[3:] or ["randngd", "ssbroyden-optimistix"]:
        about = {"problem": str(given["problem"]), "solver": name, "seed": int(given["seed"]), "versions": packages}
        print(json.dumps(about | run(name, given, float(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
