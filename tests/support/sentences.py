"""Whether the numbers in a finding's sentence are those of its evidence."""

import re

from pinntk._util.numbers import number
from pinntk.diagnostics import Finding
from pinntk.diagnostics._wording import percent, setting

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?%?(?!\w)|\binfinite\b|\bnot a number\b")
_NO_NUMBERS = (
    r"\b\w+ = -?[\d.,]+(?:e-?\d+)?",  # a place in the domain, or fields that are zero
    r"mean 0 and standard deviation 1",
    r"away from 0;",
    r"outputs of about 1,",
    r"less than [\d.e-]+",
    r"(?<=layer )[\w.]+",  # a layer's name
)


def unexplained_numbers(finding: Finding) -> list[str]:
    """The numbers of the sentence that no entry of the evidence is written as; empty for an honest finding.

    Places and the constants of a fixed phrase are not numbers of a measurement.

    >>> from pinntk.diagnostics import Finding
    >>> unexplained_numbers(Finding(code="any", severity="note", sentence="It is 3 of 7.", evidence={"of": 7}))
    ['3']
    """
    sentence = finding.sentence
    for pattern in _NO_NUMBERS:
        sentence = re.sub(pattern, "", sentence)
    values = [float(value) for value in finding.evidence.values()]
    written = {text(value) for value in values for text in (number, percent, setting)}
    return [found for found in _NUMBER.findall(sentence) if found not in written]
