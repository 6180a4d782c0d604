"""What is wrong with a training, in numbers, and in words: measurements, findings, prescriptions."""

from pinntk.diagnostics.finding import Finding, Prescription

__all__ = ["Finding", "Prescription"]
