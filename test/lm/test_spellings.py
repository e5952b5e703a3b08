"""Spelling lexicons: three kinds of files, and what is wrong with them by line."""

import gzip
import logging

import pytest

from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.lm.spellings import read_spellings, write_lst

CHARACTERS = CharacterVocabulary()
LST = "DON'T\tD O N ' T |\nTWO\tT W O |\nTO T O |\n"
WORDS = "DON'T\nTWO\nTO\n"
PHONES = "DON'T D OW1 N T\nTWO T UW1\nTO T UW1\nTO T AH0\n"


def read(tmp_path, text, name="lexicon"):
    raw = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return read_spellings(tmp_path / name)


@pytest.mark.parametrize("name", ["lexicon", "lexicon.gz"])
@pytest.mark.parametrize(
    "change", [("", ""), ("\n", "\r\n"), ("DON", "\ufeffDON"), ("\nT", "\n\nT")]
)
@pytest.mark.parametrize(
    ("text", "kind"),
    [(LST, "spellings (WORD L E"), (WORDS, "a list of words"), (PHONES, "a pronouncing lexicon")],
)
def test_the_kinds_are_told_apart_and_give_the_same(tmp_path, caplog, text, kind, change, name):
    caplog.set_level(logging.INFO)
    spellings = read(tmp_path, text.replace(*change, 1 if change[0] == "DON" else -1), name)
    assert list(spellings) == ["DON'T", "TWO", "TO"]
    for word, variants in spellings.items():
        assert variants == [tuple(CHARACTERS.encode(word))]
        assert variants[0][-1] == CharacterVocabulary.word_end
    assert kind in caplog.text
    assert "3 words, 0 of them not spelled by their letters, 3 spellings" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_written_lists_are_read_as_they_were(tmp_path):
    spellings = read(tmp_path, LST + "DR D O C T O R |\nDR D R |\n")
    write_lst(spellings, tmp_path / "out.lst")
    assert (tmp_path / "out.lst").read_text().startswith("DON'T\tD O N ' T |\nDR\tD O C T O R |\n")
    assert read_spellings(tmp_path / "out.lst") == spellings
    assert [CHARACTERS.decode(ids) for ids in spellings["DR"]] == ["DOCTOR", "DR"]


def test_doubles_are_merged_and_counted(tmp_path, caplog):
    spellings = read(tmp_path, LST + "TWO T W O |\nTWO T O O |\nTWO\tT W O |\n")
    assert [CHARACTERS.decode(ids) for ids in spellings["TWO"]] == ["TWO", "TOO"]
    assert "2 entries are there twice" in caplog.text
    caplog.clear()
    assert len(read(tmp_path, WORDS + "TO\n")) == 3
    assert "1 entries are there twice" in caplog.text


def test_words_of_one_spelling_all_stay(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    same = "".join(f"TO{'O' * n} T O |\n" for n in range(6))
    assert len(read(tmp_path, same + "A A |\n")) == 7
    assert "7 words, 5 of them not spelled by their letters, 2 spellings" in caplog.text
    assert "of which 1 are of several words" in caplog.text
    assert "flashlight" not in caplog.text
    assert len(read(tmp_path, same + "TU T O |\n")) == 7
    assert "1 spellings are of more than 6 words each" in caplog.text and ": TO|" in caplog.text


@pytest.mark.parametrize("text", ["<s>\n</s>\n<unk>\n!SIL\n" + WORDS, "<UNK> SPN\n" + PHONES])
def test_symbols_that_are_no_words_are_left_out_and_named(tmp_path, caplog, text):
    assert list(read(tmp_path, text)) == ["DON'T", "TWO", "TO"]
    assert "left out, no words: " + text.split()[0] in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WORDS + "CAFÉ\n", "lexicon:4: word 'CAFÉ' has the character 'É'"),
        (LST + "CAFÉ C A F É |\n", "lexicon:4: word 'CAFÉ' has the character 'É'"),
        (LST + "CAFE C A F É |\n", "lexicon:4: word 'CAFE' has 'É' in its spelling"),
        (LST + "CAFE C A F E\u0301 |\n", "lexicon:4: word 'CAFE' has "),
        (PHONES + "CAFÉ K AE1 F EY2\n", "lexicon:5: word 'CAFÉ' has the character 'É'"),
        (WORDS + "cat\n", "lexicon:4: word 'cat' has the character 'c' .write it in upper case"),
        (LST + "CAT c a t |\n", "lexicon:4: word 'CAT' has 'c' in its spelling .write it in upper"),
        (WORDS + "DON\u2019T\n", "lexicon:4: .* .write the plain apostrophe"),
        (WORDS + "TO\u200b\n", r"lexicon:4: word .* has the character '\\u200b'"),
        (WORDS + "3RD\n", "lexicon:4: word '3RD' has the character '3'"),
        (WORDS + "TO|\n", "lexicon:4: word 'TO|' has the character '|'"),
        (WORDS + "'\n", 'lexicon:4: word "\'" has no letter'),
        (WORDS + "TO TWO\n", "lexicon:4: one word expected, got 'TO TWO'"),
        (LST + "CAT |\n", "lexicon:4: word 'CAT' is spelled without a letter"),
        (LST + "CAT ' |\n", "lexicon:4: word 'CAT' is spelled without a letter"),
        (LST + "CAT\n", "lexicon:4: word 'CAT' is spelled without a letter"),
        (LST + "\tC A T |\n", "lexicon:4: no word at the start"),
        (LST + "CAT C A T\n", "lexicon:4: word 'CAT': | expected at the end"),
        (LST + "CAT CA T |\n", "lexicon:4: word 'CAT' has 'CA' in its spelling"),
        (LST + "CAT C | A T |\n", "lexicon:4: word 'CAT' has '|' within its spelling"),
        (
            "CAT C A T\nTO T O\n",
            "lexicon:1: word 'CAT': 'C' is no ARPAbet phone, and there is no |",
        ),
        ("THE CAT SAT\nON THE MAT\n", "lexicon:1: word 'THE': 'CAT' is no ARPAbet phone"),
        ("CAT 17\nTO 18\n", "lexicon:1: word 'CAT': '17' is no ARPAbet phone"),
        (PHONES + "CAT\n", "lexicon:5: word 'CAT' has no phones"),
        ("", "lexicon is empty"),
        ("\n  \n", "words expected, but there is none"),
        ("<s>\n</s>\n", "words expected, but there is none"),
        ("<!DOCTYPE html>\n", "web page"),
        (WORDS.encode("utf-16"), "UTF-16"),
        (WORDS.encode() + "CAFÉ".encode("latin-1"), "lexicon:4: UTF-8 text expected"),
        (gzip.compress(WORDS.encode(), mtime=0), "gzip archive"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        read(tmp_path, text)


def test_the_first_ten_faults_are_listed_and_all_are_counted(tmp_path):
    with pytest.raises(ValueError) as error:
        read(tmp_path, WORDS.lower() * 4)
    assert "12 of its lines cannot be used" in str(error.value)
    assert "lexicon:10: " in str(error.value) and "lexicon:11: " not in str(error.value)
    assert ".. 12 in all" in str(error.value)


def test_files_that_are_not_there_or_cut_off(tmp_path):
    with pytest.raises(ValueError, match="nowhere.*not there.*lexicon or a list of words expected"):
        read_spellings(tmp_path / "nowhere")
    (tmp_path / "lst.gz").write_bytes(gzip.compress(LST.encode() * 1000)[:-20])
    with pytest.raises(ValueError, match="lst.gz cannot be unpacked"):
        read_spellings(tmp_path / "lst.gz")
