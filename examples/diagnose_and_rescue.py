"""A training that fails, why, and the same training as the diagnosis prescribes it: u_t = 5 u (1 - u).

    python examples/diagnose_and_rescue.py

Under a minute on two cores. In a notebook, `findings` and `rescued` show themselves.
"""

from __future__ import annotations

import pinntk
from pinntk import Rescue


def main(name: str = "reaction", steps: int = 500, seconds: float = 30) -> Rescue:
    """steps: of Adam, which fail; seconds: for the trainings that repair them."""
    problem = pinntk.load(name)
    network = pinntk.nn.MLP(problem, width=32, depth=2)
    run = pinntk.train(problem, network, steps=steps, points={"residual": 500}, progress=False)
    findings = pinntk.diagnose(run)
    for finding in findings:
        print(f"{finding} (confidence {finding.confidence:.0%})")
        for prescription in finding.prescriptions:
            print(f"  to do: {prescription.sentence}")
    rescued = pinntk.rescue(run, seconds=seconds, rounds=2)
    print(rescued)
    return rescued


if __name__ == "__main__":
    main()
