"""Alignments in sclite's form, against ones written by hand."""

from speechlm.score.error_rate import error_rates
from speechlm.score.pra import format_alignments, width


def test_an_alignment_in_sclites_form():
    rates = error_rates(
        {"u-1": "SHE SAW CATS AND", "u-2": ""}, {"u-1": "SHE WAS IN AND", "u-2": ""}
    )
    assert format_alignments(rates) == (
        "id: (u-1)\n"
        "Scores: (#C #S #D #I) 2 2 0 0\n"
        "REF:  she SAW CATS and\n"
        "HYP:  she WAS IN   and\n"
        "Eval:     S   S\n"
        "\n"
        "id: (u-2)\n"
        "Scores: (#C #S #D #I) 0 0 0 0\n"
        "REF:\n"
        "HYP:\n"
        "Eval:\n"
    )


def test_gaps_are_as_long_as_words():
    rates = error_rates({"a": "ON THE TABLE", "b": "YES"}, {"a": "ON TABLE", "b": "YES SIR"})
    assert format_alignments(rates).splitlines()[1:5] == [
        "Scores: (#C #S #D #I) 2 0 1 0",
        "REF:  on THE table",
        "HYP:  on *** table",
        "Eval:    D",
    ]
    assert format_alignments(rates).splitlines()[7:] == [
        "Scores: (#C #S #D #I) 1 0 0 1",
        "REF:  yes ***",
        "HYP:  yes SIR",
        "Eval:     I",
    ]


def test_wrong_words_in_small_letters_become_capitals_unless_their_case_is_the_error():
    text = format_alignments(error_rates({"a": "the cat Sat"}, {"a": "The dog Sat"}))
    assert text.splitlines()[2:] == ["REF:  the CAT sat", "HYP:  The DOG sat", "Eval: S   S"]


def test_wide_letters_and_combining_marks_keep_their_columns():
    assert (width("\u8a9e\u97f3"), width("cafe\u0301"), width("ABC")) == (4, 4, 3)
    text = format_alignments(error_rates({"a": "\u8a9e\u97f3 X Z"}, {"a": "X\u0301 Z"}))
    assert text.splitlines()[2:] == [
        "REF:  \u8a9e\u97f3 X z",
        "HYP:  X\u0301    * z",
        "Eval: S    D",
    ]


def test_utterances_stand_under_their_speakers():
    texts = {"b1": "A", "c1": "B", "b2": "C"}
    speakers = {"b1": "zoe", "b2": "zoe", "c1": "anna"}
    lines = format_alignments(error_rates(texts, texts), speakers).splitlines()
    assert [line for line in lines if line.startswith(("Speaker", "id"))] == [
        "Speaker sentences   0:  anna   #utts: 1",
        "id: (c1)",
        "Speaker sentences   1:  zoe   #utts: 2",
        "id: (b1)",
        "id: (b2)",
    ]


def test_letters_without_a_single_capital_are_shown_as_they_are():
    rates = error_rates({"a": "die straße ist naß"}, {"a": "die gasse ist nass"})
    assert format_alignments(rates).splitlines()[1:4] == [
        "Scores: (#C #S #D #I) 2 2 0 0",
        "REF:  die STRAßE ist naß",
        "HYP:  die GASSE  ist nass",
    ]
