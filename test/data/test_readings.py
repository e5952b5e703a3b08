"""Numbers in running text: each is read rightly, or its sentence is left out with the reason."""

from pathlib import Path

import pytest

from speechlm.data.numbers import amount, cardinal, fraction, ordinal, year
from speechlm.data.readings import numbers_to_words
from speechlm.data.romans import roman
from speechlm.data.text_normalize import SentenceOptions, sentences
from speechlm.data.unspoken import MARKS, NUMBER

TABLE = Path(__file__).with_name("number_readings.tsv")
"""A sentence a line with all its right readings; `-` among them: it may be left out as well."""
ROWS = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]


def read(text: str) -> str:
    """The one sentence, or `-` and the reason."""
    found = list(sentences(text, SentenceOptions()))
    assert len(found) == 1, found
    words, reason = found[0]
    return f"-{reason}" if reason else words


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_right_readings(row):
    raw, *right = row
    got = read(raw)
    assert got in right or (got == f"-{MARKS[NUMBER]}" and "-" in right)


@pytest.mark.parametrize(
    "raw",
    [
        "It was 12/05/2020 when",
        "Use A7-X9/33q for it",
        "See 3,5 for it",
        "Some 12 500 came there",
        "It is at 45:99:12 now",
        "H2O is wet stuff",
        "Ke$ha sang it well",
        "He did it in C++ then",
        "It is 5m to the wall",
        "It ran 1.5e-4 times",
        "He has 20 pcs of it",
    ],
)
def test_no_sure_reading(raw):
    assert read(raw) == f"-{MARKS[NUMBER]}"


def test_only_the_sentence_with_the_number_is_lost():
    found = list(sentences("It rained. Use A7-X9/33q there. He left at 3.", SentenceOptions()))
    assert [reason for _, reason in found] == ["", MARKS[NUMBER], ""]
    assert found[1][0].endswith("<?> THERE")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("in 1703 and 1800, 2004", "in seventeen o three and eighteen hundred, two thousand four"),
        ("the 26th, the 23d, the 1st", "the twenty sixth, the twenty third, the first"),
        ("May 29, 1792", "May twenty ninth, seventeen ninety two"),
        ("$1.75 or $2 or $.90", "one dollar and seventy five cents or two dollars or ninety cents"),
        ("£15,000 and £1", "fifteen thousand pounds and one pound"),
        ("at 10:30, 9:00, 8:05", "at ten thirty, nine o'clock, eight o five"),
        ("the 1890's and '82", "the eighteen nineties and eighty two"),
        ("2 1/2 miles, 3/4, ½", "two and one half miles, three quarters, one half"),
        ("600,000 volumes", "six hundred thousand volumes"),
        ("Chapter XIV and Chapter I", "Chapter fourteen and Chapter one"),
        ("Henry VIII, Louis XIV", "Henry the eighth, Louis the fourteenth"),
        ("John C. Smith, Peter X. Jones", "John C. Smith, Peter X. Jones"),
        ("the part I played in Part II.", "the part I played in Part two."),
        ("a CIVIL MIX; I DID", "a CIVIL MIX; I DID"),
        ("my CV, a CD, size XL", "my CV, a CD, size XL"),
        ("MCMIX", "nineteen o nine"),
    ],
)
def test_numbers(raw, expected):
    got = " ".join(numbers_to_words(raw).replace(" ,", ",").split())
    assert got == expected


def test_number_words():
    assert cardinal(0) == "zero"
    assert cardinal(1_000_021) == "one million twenty one"
    assert ordinal(112) == "one hundred twelfth"
    assert [year(1900), year(2000), year(2010)] == ["nineteen hundred", "two thousand"] + [
        "two thousand ten"
    ]
    assert [roman(x) for x in ("XIV", "IIX", "MCMXCIX", "", "ABC")] == [14, None, 1999, None, None]
    assert [amount(x) for x in ("2 1/2", "5-10", "1,000.5")] == [
        "two and one half",
        "five to ten",
        "one thousand point five",
    ]
    assert fraction(12, 11) == fraction(1, 0) == NUMBER
