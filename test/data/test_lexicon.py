import pytest

from speechlm.data.lexicon import WORD_PHONES, Lexicon, is_word
from speechlm.data.vocabulary import add_positions, phone_id


def test_cmudict():
    cmudict = Lexicon.cmudict()
    assert len(cmudict) > 120_000
    assert cmudict.entries["READ"] == [("R", "EH1", "D"), ("R", "IY1", "D")]
    assert cmudict.entries["D'ARTAGNAN"] == [("D", "AH0", "R", "T", "AE1", "NG", "Y", "AH0", "N")]
    phones = {p for variants in cmudict.entries.values() for v in variants for p in v}
    assert phones <= WORD_PHONES
    spelled = {
        phone
        for word in list(cmudict)[:5000]
        for variant in cmudict.entries[word]
        for phone in add_positions(variant)
    }
    assert spelled <= phone_id.keys()


def test_read_librispeech_format(tmp_path):
    path = tmp_path / "librispeech-lexicon.txt"
    path.write_text(
        "<UNK> SPN\nA\tAH0\nA  EY1\nA''S  EY1 Z\nCAT K AE1  T\nCAT K AE1 T\n\n!SIL SIL\n"
    )
    lexicon = Lexicon.read(path)
    assert lexicon.entries == {
        "A": [("AH0",), ("EY1",)],
        "A''S": [("EY1", "Z")],
        "CAT": [("K", "AE1", "T")],
    }
    lexicon.write(tmp_path / "out.txt")
    assert Lexicon.read(tmp_path / "out.txt").entries == lexicon.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A AH0\nDOG D AO4 G\n", "line 2: word 'DOG': no ARPAbet phones: AO4"),
        ("cat K AE1 T\n", "line 1: word 'cat' has characters"),
        ("CAT\n", "line 1: word 'CAT' has no phones"),
        ("DOG D_B AO1_I G_E\n", "D_B AO1_I G_E"),
        ("<UNK> SPN\n", "no pronunciations"),
    ],
)
def test_bad_lexicons(tmp_path, text, message):
    (tmp_path / "lexicon.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_long_problem_lists_are_cut_and_counted(tmp_path):
    (tmp_path / "lexicon.txt").write_text("CAT\n" * 50)
    with pytest.raises(ValueError, match="50 in all"):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_words():
    assert all(map(is_word, ["A", "'TIS", "DON'T", "BOYS'", "A''S"]))
    assert not any(map(is_word, ["", "'", "a", "A-B", "X1", "CAF\u00c9", "A B"]))
