"""A sentence a line and a book are told apart by what the lines say, not by blank lines."""

import random
import textwrap

import pytest

from speechlm.data.text_kind import kind_of

SENTENCE = "the old man saw a dog near his house and ran away from there with all he had"
WORDS = SENTENCE.split()
POEM = """The fog comes down upon the hill,
And all the birds that sang are still;
The river, where the children play,
Has lost its silver voice today.

Yet he who waits beside the door,
And listens to the ocean's roar,
Will know that morning brings again
The golden light, the gentle rain."""


def sentence(rng: random.Random) -> str:
    words = rng.choices(WORDS, k=rng.randint(5, 18))
    return f"{words[0].capitalize()} {' '.join(words[1:8])}, {' '.join(words[8:] or ['so'])}."


def sentences(n: int = 400) -> list[str]:
    rng = random.Random(1)
    return [sentence(rng) for _ in range(n)]


def with_blanks(lines: list[str], blank: str = "") -> list[str]:
    return [x for i, line in enumerate(lines) for x in ([line, blank] if i % 7 == 0 else [line])]


def wrapped(width: int = 70, a_paragraph: int = 6) -> list[str]:
    given = sentences()
    blocks = [" ".join(given[i : i + a_paragraph]) for i in range(0, len(given), a_paragraph)]
    return [line for block in blocks for line in [*textwrap.wrap(block, width), ""]][:-1]


def bare(lines: list[str]) -> list[str]:
    return [line.replace(",", "").replace(".", "") for line in lines]


def lowered(lines: list[str]) -> list[str]:
    return [line.lower() for line in lines]


SHORT = [s for s in bare(sentences()) if 45 < len(s) < 60]
LINES = {
    "plain": sentences(),
    "blank lines between": with_blanks(sentences()),
    "white space between": with_blanks(sentences(), " \t"),
    "blank line at the end": [*sentences(), "", ""],
    "blank line after each": [x for s in sentences() for x in (s, "")],
    "lower case": with_blanks(lowered(sentences())),
    "no punctuation": with_blanks(bare(sentences())),
    "lower case without punctuation": with_blanks(lowered(bare(sentences()))),
    "upper case without punctuation": with_blanks([s.upper() for s in bare(sentences())]),
    "of like lengths": with_blanks(lowered(SHORT)),
    "half without full stop": with_blanks(
        [s.strip(".") if i % 2 else s for i, s in enumerate(sentences())]
    ),
    "only questions end": with_blanks(
        [f"{s}?" if i % 9 == 0 else s for i, s in enumerate(lowered(bare(sentences())))]
    ),
    "abbreviations": with_blanks([s.replace("old", "old Mrs. Low") for s in bare(sentences())]),
    "a paragraph a line": [" ".join(sentences()[i : i + 5]) for i in range(0, 100, 5)],
    "paragraphs and blank lines": with_blanks(
        [" ".join(sentences()[i : i + 5]) for i in range(0, 100, 5)]
    ),
    "quotes": with_blanks([f"“{s}”" for s in sentences()]),
    "one line": sentences(1),
    "nothing": [],
    "words": [w for w in WORDS for _ in range(9)],
}
BOOKS = {
    "wrapped": wrapped(),
    "wrapped wide": wrapped(100),
    "few paragraphs": wrapped(70, 200),
    "one paragraph": wrapped(70, 400),
    "indented": ["    " + line for line in wrapped()],
    "lower case": lowered(wrapped()),
    "upper case": [line.upper() for line in wrapped()],
    "poem": POEM.split("\n"),
    "with marks": ["The Project Gutenberg eBook of Nothing", "", *sentences()],
}


@pytest.mark.parametrize("name", [*LINES])
def test_a_sentence_a_line(name):
    assert kind_of(LINES[name])[0] == "lines", kind_of(LINES[name])


@pytest.mark.parametrize("name", [*BOOKS])
def test_books(name):
    assert kind_of(BOOKS[name])[0] == "book", kind_of(BOOKS[name])
