"""scripts/benchmark_geometry.py, small."""

import benchmark_geometry
import numpy as np
import pytest


@pytest.mark.slow
def test_costs_of_all_domains():
    found = benchmark_geometry.main(["--quick"])
    assert list(found) == [*benchmark_geometry.BOXES, "plate with a hole", "polygon with holes"]
    assert all(cost > 0 for costs in found.values() for cost in costs.values())
    assert "1,000 points" in found["polygon with holes"]


def test_the_polygon_has_its_holes():
    star = benchmark_geometry.polygon()
    assert len(star.polygon.interiors) == 5
    assert star.contains(star.sample(500, "uniform", np.random.default_rng(0))).all()
