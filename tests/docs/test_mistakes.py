"""docs/MISTAKES.md: what is said of each mistake is said so today."""

import re

import mistakes_page as page
import pytest


def without_lists_and_words_of_torch(text):
    """Lines unfolded; what grows with pinntk, and what other versions of torch say otherwise, left out."""
    unfolded = text.replace("\n  ", " ")
    unfolded = re.sub(r"(Commands are|Known:) [^\n]*?; see", r"\1 ...; see", unfolded)
    return re.sub(r"(Error: )[^\n]*?(\. Operators take)", r"\1...\2", unfolded)


def parts(text):
    return without_lists_and_words_of_torch(text).split("\n## ")


@pytest.fixture(scope="module", autouse=True)
def newcomer():
    with page.newcomer():
        yield


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_page_is_what_is_said(slow):
    text = page.PAGE.read_text(encoding="utf-8")
    for then, said in zip(parts(text), parts(page.rewritten(text, slow=slow)), strict=True):
        assert said == then


def test_another_answer_would_be_seen():
    before, _, block = "A paragraph.\n\n```console\n$ pinntk tran\npinntk: error: nothing\n```\n".partition("\n\n")
    assert page.rewritten(f"{before}\n\n{block}") != f"{before}\n\n{block}"
    with pytest.raises(ValueError, match=r"my_pde\.py has no 'nowhere'"):
        page.rewritten(f"`here` in place of `nowhere`:\n\n{block}")
    with pytest.raises(ValueError, match="the comment 'so to say' says nothing"):
        page.rewritten(f"{before}\n\n<!-- so to say -->\n{block}")
