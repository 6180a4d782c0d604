"""Rules about short waves, which a network learns slowly or never."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import failing, severity, unreachable_alone
from pinntk.diagnostics._prescriptions import gauss_newton
from pinntk.diagnostics._spectrum import error_frequency
from pinntk.diagnostics._thresholds import CONFIDENCE, above, below, clearly
from pinntk.diagnostics._wording import phrase, setting
from pinntk.problem import Measurements

_FEATURES = 64  # Fourier features that are prescribed


def spectral_bias(x: Examination) -> Finding | None:
    """The remaining error of a residual, or of data on a face, has short waves that are unreachable."""
    found = x.estimate
    if not failing(x) or above("exhausted", found.rank / found.parameters if found.parameters else 0.0):
        return None
    waving = _resolved(x)
    if not waving:
        return None
    worst = max(waving, key=lambda name: found.size[name])
    if not (unreachable_alone(x) and not below("alone-worst", found.alone[worst] / found.unreachable)):
        return None
    return _short_waves(
        x,
        worst,
        f"{found.alone[worst]:.0%} of the remaining error in {phrase(x.problem, worst)} is unreachable",
        clearly("unreachable", found.unreachable),
    )


def slow_waves(x: Examination) -> Finding | None:
    """The same in a weaker form: the remaining error has short waves. Evaluated where no other rule finds anything."""
    waving = _resolved(x)
    if x.run is None or not failing(x) or not waving:
        return None
    parts = x.estimate.parts
    worst = max(waving, key=lambda name: parts[name])
    share = parts[worst] / (sum(parts.values()) or 1.0)
    if not above("slow-waves", share):
        return None
    finding = _short_waves(
        x,
        worst,
        f"{share:.0%} of the estimated error comes from {phrase(x.problem, worst)}",
        CONFIDENCE["slow-waves"],
    )
    if finding is None or x.progress is None or x.progress.solving:
        return finding
    # The kernel reaches these waves: what is slow for a gradient is not for Gauss-Newton. Features may not be needed.
    solver = Prescription("train by Gauss-Newton, which learns short waves as fast as long ones", gauss_newton(x.run))
    return replace(finding, prescriptions=(solver, *finding.prescriptions))


def _resolved(x: Examination) -> list[str]:
    """The conditions on enough points to tell waves; measurements may be noise."""
    found = x.estimate.errors
    conditions = (name for name in found if not isinstance(x.problem[name].region, Measurements))
    return [name for name in conditions if above("wave-points", len(found[name]))]


def _short_waves(x: Examination, worst: str, what: str, confidence: float) -> Finding | None:
    found = x.estimate
    wave = error_frequency(found.points[worst], found.errors[worst], x.problem.domain.bounds)
    if not above("waves", wave.dominant):
        return None
    d = x.problem.domain.dimension
    # Features cos(2 pi B x~), x~ = sqrt(12) (x - mean) / length: f cycles per length are f / sqrt(12) cycles per unit of x~.
    # B ~ N(0, sigma^2) in d coordinates; waves as short as f should lie at twice the typical |B|, the long ones are needed too.
    sigma = float(f"{wave.dominant / (2 * sqrt(12 * d)):.2g}")
    features = {"network.arguments.fourier": [_FEATURES, sigma], "network.arguments.normalize": True}
    prescriptions = (
        (Prescription(f"add Fourier features of standard deviation {setting(sigma)}", features),)
        if x.settings
        else (
            Prescription(f"feed the network cos and sin of 2 pi B x, B of {setting(wave.dominant)} cycles per domain length"),
        )
    )
    share = x.spectrum.share(x.balance.errors).cpu().numpy()
    return Finding(
        code="spectral-bias",
        severity=severity(x),
        sentence=f"{what}; it has {setting(wave.dominant)} waves per domain length, which gradient descent learns slowly or "
        "never.",
        evidence={
            "unreachable_share": found.unreachable,
            "unreachable_share_alone": found.alone[worst],
            "dominant_waves": wave.dominant,
            "mean_waves": wave.mean,
            "kernel_rank": found.rank,
        },
        arrays={"eigenvalues": x.spectrum.values.cpu().numpy(), "share": share},
        confidence=confidence,
        prescriptions=prescriptions,
    )
