"""Error rates against sentences counted by hand."""

import random

import pytest

from speechlm.score.error_rate import ErrorCounts, error_rates


def distance(a, b):
    """Edit distance by the textbook."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def test_counts_of_hand_made_sentences():
    rates = error_rates(
        {"a": "THE CAT SAT", "b": "ON THE MAT", "c": "YES"},
        {"a": "THE CAT SAT", "b": "ON MATS NOW", "c": ""},
    )
    words = rates.words
    assert (words.sentences, words.tokens, words.wrong_sentences) == (3, 7, 2)
    assert (words.correct, words.substitutions, words.deletions) == (4, 2, 1)
    assert words.correct + words.substitutions + words.deletions == words.tokens
    assert words.rate == pytest.approx(100 * 3 / 7)
    assert rates.characters.tokens == len("THE|CAT|SAT") + len("ON|THE|MAT") + len("YES")


def test_single_operations():
    counts = ErrorCounts()
    counts.add(["A", "B", "C"], ["A", "C"])
    assert (counts.deletions, counts.insertions, counts.substitutions) == (1, 0, 0)
    counts.add(["A"], ["A", "B"])
    assert (counts.deletions, counts.insertions, counts.substitutions) == (1, 1, 0)
    counts.add(["A"], ["B"])
    assert (counts.deletions, counts.insertions, counts.substitutions) == (1, 1, 1)
    counts.add([], ["NOISE"])
    assert (counts.insertions, counts.empty_references, counts.wrong_sentences) == (2, 1, 4)
    assert counts.row() == (4, 5, 60.0, 20.0, 20.0, 40.0, 80.0, 100.0)


def test_errors_equal_the_edit_distance():
    draw = random.Random(5)
    for _ in range(50):
        a, b = ([draw.choice("XYZ") for _ in range(draw.randrange(12))] for _ in range(2))
        counts = ErrorCounts()
        counts.add(a, b)
        assert counts.errors == distance(a, b)


def test_different_utterances_are_named():
    with pytest.raises(ValueError, match="1 not recognised: utt-2.*1 without a reference: utt-3"):
        error_rates({"utt-1": "A", "utt-2": "B"}, {"utt-1": "A", "utt-3": "B"})
    with pytest.raises(ValueError, match="no utterance"):
        error_rates({}, {})


def test_counts_of_single_sentences_add_up():
    rates = error_rates({"a": "A B", "b": "C", "c": ""}, {"a": "A", "b": "C D", "c": "E"})
    total = ErrorCounts(), ErrorCounts()
    for single in rates.single.values():
        for counts, part in zip(total, single, strict=True):
            counts.merge(part)
    assert total == (rates.words, rates.characters)
    assert vars(rates.single["c"][0]) == vars(ErrorCounts(1, insertions=1, wrong_sentences=1)) | {
        "empty_references": 1
    }


def test_references_without_a_word_are_refused():
    with pytest.raises(ValueError, match="all 2 utterances are empty"):
        error_rates({"a": "", "b": " "}, {"a": "YES", "b": ""})


def test_words_that_are_only_written_otherwise_are_counted():
    references = {"a": "THE CAF\u00c9 IS", "b": "stra\u00dfe"}
    rates = error_rates(references, {"a": "the CAFE\u0301 WAS", "b": "STRASSE"})
    assert (rates.words.errors, rates.only_written_otherwise()) == (4, 3)


def test_files_of_another_form_are_told_from_missing_utterances():
    with pytest.raises(ValueError, match=r"neither sentences alone nor lines of `words \(id\)`"):
        error_rates({"a-1": "THE CAT"}, {"THE": "CAT (a-1)"})
    with pytest.raises(ValueError, match="Decode the whole set again"):
        error_rates({"a-1": "THE CAT", "a-2": "YES"}, {"a-1": "THE CAT"})
