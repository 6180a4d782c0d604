"""The JAX side of `benchmark_kernel.py`, run by the Python of an environment of its own: K by jit(vmap(grad)) and, where
neural-tangents is installed, by its structured derivatives.

    python benchmark_jax.py IN.npz OUT.npz REPEATS
"""

import os
import statistics
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before jax is imported, or XLA talks

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


def network(parameters, x):
    for weight, bias in parameters[:-1]:
        x = jnp.tanh(weight @ x + bias)
    weight, bias = parameters[-1]
    return (weight @ x + bias)[0]


def error(parameters, x, laplacian):
    """The sum of second derivatives along the axes, each by nested forward mode, or the first of them."""
    total = 0.0
    for axis in range(len(x) if laplacian else 1):
        direction = jnp.eye(len(x))[axis]

        def slope(y, direction=direction):
            return jax.jvp(lambda z: network(parameters, z), (y,), (direction,))[1]

        total = total + jax.jvp(slope, (x,), (direction,))[1]
    return total


def by_vmap(parameters, x, laplacian, chunk=64):
    """Rows of J in chunks of points, and one product."""

    def row(p, y):
        return jnp.concatenate([part.ravel() for part in jax.tree_util.tree_leaves(jax.grad(error)(p, y, laplacian))])

    rows = jax.jit(jax.vmap(row, (None, 0)))
    product = jax.jit(lambda J: J @ J.T)
    return lambda: product(jnp.concatenate([rows(parameters, x[i : i + chunk]) for i in range(0, len(x), chunk)]))


def by_neural_tangents(parameters, x, laplacian):
    import neural_tangents as nt

    def errors(p, points):
        return jax.vmap(lambda y: error(p, y, laplacian))(points)[:, None]

    kernel = nt.empirical_ntk_fn(errors, vmap_axes=0, implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES)
    batched = jax.jit(lambda a, b, p: kernel(a, b, p))
    return lambda: batched(x, x, parameters)


def main() -> None:
    with np.load(sys.argv[1]) as given:
        x, laplacian = jnp.asarray(given["x"]), bool(given["laplacian"])
        arrays = [jnp.asarray(given[f"p{i}"]) for i in range(sum(key.startswith("p") for key in given))]
    parameters = list(zip(arrays[::2], arrays[1::2], strict=True))
    found = {}
    for name, method in (("jax", by_vmap), ("nt", by_neural_tangents)):
        try:
            call = method(parameters, x, laplacian)
            K = np.asarray(call().block_until_ready()).reshape(len(x), len(x))
        except Exception as failure:
            print(f"  {name}: {type(failure).__name__}: {str(failure).splitlines()[0]}", file=sys.stderr)
            continue
        times = []
        for _ in range(int(sys.argv[3])):
            start = time.perf_counter()
            call().block_until_ready()
            times.append(time.perf_counter() - start)
        found |= {name: K, f"{name}_seconds": statistics.median(times)}
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
