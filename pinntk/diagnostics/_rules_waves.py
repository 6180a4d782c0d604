"""Rules about short waves, which a network learns slowly or never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from pinntk.diagnostics._examination import Examination
from pinntk.diagnostics._finding import Finding, Prescription
from pinntk.diagnostics._judgment import doubt, error_evidence, failing, severity, unreachable_alone
from pinntk.diagnostics._prescriptions import gauss_newton
from pinntk.diagnostics._spectrum import error_frequency
from pinntk.diagnostics._thresholds import CONFIDENCE, above, below, clearly
from pinntk.diagnostics._unjudged import lacking_need
from pinntk.diagnostics._wording import capital, percent, phrase, setting

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
        f"No small step removes {percent(found.alone[worst])} of the squared error of {phrase(x.problem, worst)}, were it the "
        "only condition",
        clearly("unreachable", found.unreachable),
    )


def slow_waves(x: Examination) -> Finding | None:
    """The same in a weaker form: the remaining error has short waves. Evaluated where no other rule finds anything."""
    waving = _resolved(x)
    if lacking_need(x, "slow-waves") or not failing(x) or not waving:
        return None
    parts = x.estimate.parts
    worst = max(waving, key=lambda name: parts[name])
    part = parts[worst] / (sum(parts.values()) or 1.0)
    if not above("slow-waves", part):
        return None
    finding = _short_waves(
        x,
        worst,
        f"{capital(phrase(x.problem, worst))} makes up {percent(part)} of the estimated error of the solution",
        CONFIDENCE["slow-waves"],
        evidence={"wave_share": part} | error_evidence(x),
        note=doubt(x),
    )
    if finding is None or x.progress is None or x.progress.solving:
        return finding
    # The kernel reaches these waves: what is slow for a gradient is not for Gauss-Newton. Features may not be needed.
    solver = Prescription("train by Gauss-Newton, which learns short waves as fast as long ones", gauss_newton(x.run))
    return replace(finding, prescriptions=(solver, *finding.prescriptions))


def _resolved(x: Examination) -> list[str]:
    """The conditions on enough points to tell waves; measurements may be noise."""
    found = x.estimate.errors
    conditions = (name for name in found if x.problem[name].kind != "data")
    return [name for name in conditions if above("wave-points", len(found[name]))]


def _short_waves(
    x: Examination, worst: str, what: str, confidence: float, *, evidence: Mapping[str, float] | None = None, note: str = ""
) -> Finding | None:
    """what: the share that the errors have, with `evidence` of that and a note at the end."""
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
        if "fourier" in x.settings
        else (
            Prescription(f"feed the network cos and sin of 2 pi B x, B of {setting(wave.dominant)} cycles per domain length"),
        )
    )
    return Finding(
        code="spectral-bias",
        severity=severity(x),
        sentence=f"{what}; its errors have {setting(wave.dominant)} waves per domain length, which gradient descent learns "
        f"slowly or never.{note}",
        evidence=dict(evidence or {})
        | {
            "unreachable_share": found.unreachable,
            "unreachable_share_alone": found.alone[worst],
            "dominant_waves": wave.dominant,
            "mean_waves": wave.mean,
            "kernel_rank": found.rank,
        },
        arrays={
            "eigenvalues": x.spectrum.values.cpu().numpy(),
            "share": x.spectrum.share(x.balance.errors).cpu().numpy(),
        },
        confidence=confidence,
        prescriptions=prescriptions,
    )
