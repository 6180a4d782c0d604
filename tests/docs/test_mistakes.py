"""docs/MISTAKES.md: what is said of each mistake is said so today."""

import re

import mistakes_page as page
import pytest


def without_words_of_torch(text):
    return re.sub(r"(Error: )[^\n]*?(\. Operators take)", r"\1...\2", text)


def parts(text):
    return without_words_of_torch(text).split("\n## ")


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_page_is_what_is_said(slow):
    text = page.PAGE.read_text(encoding="utf-8")
    with page.newcomer():
        now = page.rewritten(text, slow=slow)
    for then, said in zip(parts(text), parts(now), strict=True):
        assert said == then


def test_another_answer_would_be_seen():
    text = "A paragraph.\n\n```console\n$ pinntk tran\npinntk: error: nothing\n```\n"
    with page.newcomer():
        assert page.rewritten(text) != text
        with pytest.raises(ValueError, match=r"my_pde\.py has no 'nowhere'"):
            page.rewritten("`here` in place of `nowhere`:\n\n" + text.partition("\n\n")[2])
        with pytest.raises(ValueError, match="the comment 'so to say' says nothing"):
            page.rewritten("A paragraph.\n\n<!-- so to say -->\n" + text.partition("\n\n")[2])
