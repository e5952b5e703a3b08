"""Words that a lexicon lacks, counted by hand."""

import pytest

from speechlm.score.vocabulary import (
    other_case,
    out_of_vocabulary,
    read_lexicon_words,
    unknown_table,
    write_unknown,
)


@pytest.mark.parametrize(
    "content",
    [
        "CAT\nTHE\n",
        "CAT C A T |\nTHE T H E |\n",
        "CAT\tC A T |\nTHE\tT H E |\nTHE\tD E |\n",
        "<eps> 0\nCAT 1\nTHE 2\n#0 3\n<s> 4\n</s> 5\n",
        "\ufeffCAT\r\n\r\nTHE\r\n",
    ],
)
def test_lexicons_lists_and_symbol_tables_are_read(tmp_path, content):
    path = tmp_path / "words"
    path.write_bytes(content.encode())
    assert read_lexicon_words(path) == {"CAT", "THE"}


def test_unknown_words_are_counted_and_sorted(tmp_path):
    found, unknown = out_of_vocabulary(["THE DOG", "A DOG|S", "", "A CAT A"], {"THE", "CAT"}, "l")
    assert (found.tokens, found.unknown, found.different, found.lexicon_words) == (7, 5, 3, 2)
    assert found.rate == pytest.approx(500 / 7)
    write_unknown(unknown, tmp_path / "oov")
    assert (tmp_path / "oov").read_text() == "word\tcount\nA\t3\nDOG\t1\nDOG|S\t1\n"
    text = unknown_table(found, unknown, 3)
    assert "- 5 of 7 words (71.4 %), 3 different ones" in text and "|DOG\\|S|1|" in text
    assert "|A|" not in unknown_table(*out_of_vocabulary(["THE"], {"THE"}, "l"), 3)


def test_words_of_another_case_are_counted():
    _, unknown = out_of_vocabulary(["CAT CAT Dog THE"], {"cat", "DOG", "THE"}, "l")
    assert other_case(unknown, {"cat", "DOG", "THE"}) == 3


def test_a_lexicon_without_words_is_refused(tmp_path):
    (tmp_path / "words").write_text("<eps> 0\n#0 1\n")
    with pytest.raises(ValueError, match="words has no word; a lexicon"):
        read_lexicon_words(tmp_path / "words")
