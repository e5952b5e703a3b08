"""Case by language, joiners inside words, doubled quotes."""

import pytest

from speechlm.data.written import lower, single_quotes, upper, words_of


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("IĞDIR İzmir", "tr", "ığdır izmir"),
        ("I\u0307zmir BAKI", "az-Latn", "izmir bakı"),
        ("IĞDIR İzmir", "de", "iğdir izmir"),
        ("Straße GROẞ", "de", "straße groß"),
        ("ΟΔΥΣΣΕΥΣ ΟΔΟΣ, ΣΑΣ", "el", "οδυσσευς οδος, σας"),
        ("ŽALIA Į", "lt", "žalia į"),
    ],
)
def test_lower_case_knows_the_language(text, language, expected):
    assert lower(text, language) == expected


def test_upper_case_knows_the_language():
    assert [upper("iı", language) for language in ("tr", "tr-TR", "en")] == ["İI", "İI", "II"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("می\u200cروم، خانه\u200c.", "می\u200cروم خانه"),
        ("क्\u200dष है।", "क्\u200dष है"),
        ("l'eau d'une 'vie' dogs'", "l'eau d'une vie dogs"),
        ("ein Auf-und-ab – nie-, mals", "ein Auf-und-ab nie mals"),
        ("Schiff\u00adfahrt", "Schifffahrt"),
        ("a\u200eb \ufeffc", "ab c"),
        ("col·lecció", "col·lecció"),
        ("ja…nein,doch/kaum", "ja nein doch kaum"),
        ("3.5 oder 1,000. Nein", "3.5 oder 1,000 Nein"),
        ("das ❤️ und 😀 - ' da", "das und da"),
    ],
)
def test_joiners_stay_inside_words(text, expected):
    assert words_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"He said ""no""."', 'He said "no".'),
        ('He said ""no"".', 'He said "no".'),
        (
            'only the terms ""Russian"" and "Russian" are',
            'only the terms "Russian" and "Russian" are',
        ),
        ('"No", he said, "yes"', '"No", he said, "yes"'),
        ('"No" is no', '"No" is no'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_doubled_quotes(text, expected):
    assert single_quotes(text) == expected
