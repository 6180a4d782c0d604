"""Which known word was probably meant."""

import pytest

from pinntk._util.likeness import did_you_mean, nearest


def transformations(word, alphabet="abx"):
    """Words one edit away: a letter added, left out, changed, or swapped with the one beside it."""
    for i in range(len(word) + 1):
        yield from (word[:i] + letter + word[i:] for letter in alphabet)
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        yield from (word[:i] + letter + word[i + 1 :] for letter in alphabet)
    yield from (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1))


@pytest.mark.parametrize("word", ["weighting", "steps", "lbfgs", "gradient-norm"])
def test_one_slip_is_recognized(word):
    known = ["weighting", "steps", "lbfgs", "gradient-norm", "seconds", "momentum"]
    assert {nearest(slip, known) for slip in transformations(word)} == {word}
    assert nearest(word.upper().replace("-", "_"), known) == word


def test_of_several_the_nearest_and_of_none_nothing():
    assert nearest("adma", ["adamax", "adamw", "adam"]) == "adam"
    assert nearest("cavity", ["convection", "lid_driven_cavity"]) == "lid_driven_cavity"
    assert nearest("walls", ["ends", "poisson"]) is None and nearest("x", []) is None
    assert nearest("walls", ["ends", "poisson"], least=0) == "ends"
    assert (did_you_mean("edns", ["ends"]), did_you_mean("walls", ["ends"])) == ("; did you mean 'ends'?", "")
