"""The language of a process: its file, and what follows from it in vocabularies and tokenizers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from speechlm.data.language import ENGLISH, LANGUAGE, Language, read_language
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, inventory, look_up

GERMAN = {"language": "de", "letters": "enrtsaßü'", "phones": ["a", "aː", "n", "t", "ʁ", "s", "ts"]}
IN_GERMAN = """
import json, sys
import numpy as np
from speechlm.data.lexicon import Lexicon
from speechlm.data.monophones import AUTHORS_PHONES, MONOPHONES
from speechlm.data.validate import transcript_problem
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, UnitVocabulary, fold_phone
from speechlm.recognizer import topology
from speechlm.score.alignment import fold
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer

lexicon = Lexicon({"straße": [("t", "ʁ", "aː", "s")], "nass": [("n", "a", "s")]})
lexicon.write(sys.argv[1])
lexicon = Lexicon.read(sys.argv[1])
text = PhonemeTextTokenizer(lexicon, 1)
batch = text(["nass straße", "straße unbekannt"[:6]], np.arange(2), np.zeros(2, np.int64))
characters = CharacterVocabulary()
phones = UnitVocabulary.phones()
units = batch.units[batch.unit_offsets[0] : batch.unit_offsets[1]]
names = phones.to_symbols(units)
print(json.dumps({
    "ids": CharacterVocabulary.n_ids,
    "round": characters.decode(characters.encode("nass straße")),
    "target": characters.decode(batch.characters[: batch.character_offsets[1]]),
    "phones": [n for n, before in zip(names, ["", *names]) if n != before and "SIL" not in n],
    "classes": list(topology.CLASSES),
    "folded": fold_phone("aː_B"),
    "mono": list(MONOPHONES.symbols),
    "authors": len(AUTHORS_PHONES),
    "labels": len(PHONES),
    "scored": [fold("aː_B"), fold("sil"), fold("SPN_S")],
    "wrong": transcript_problem("naß łas"),
}))
"""


def in_german(tmp_path, *code):
    """Run Python in a process whose language is a small German."""
    file = tmp_path / "language.json"
    file.write_text(json.dumps(GERMAN), encoding="utf-8")
    env = {**os.environ, "SPEECHLM_LANGUAGE": str(file)}
    return subprocess.run(
        [sys.executable, *code], env=env, capture_output=True, text=True, timeout=120
    )


def test_a_process_in_another_language_has_its_phones_and_letters(tmp_path):
    done = in_german(tmp_path, "-c", IN_GERMAN, str(tmp_path / "lexicon.txt"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ids"] == 4 + 1 + 9 + 1
    assert found["round"] == found["target"] == "nass straße"
    assert found["phones"] == ["n_B", "a_I", "s_E", "t_B", "ʁ_I", "aː_I", "s_E", "</s>"]
    assert found["classes"] == ["SIL", *sorted(GERMAN["phones"]), "SPN"]
    assert found["folded"] == "aː" and found["authors"] == 42
    assert found["mono"] == ["SIL", "SPN", *sorted(GERMAN["phones"])]
    assert found["labels"] == 1 + 2 * 5 + 7 * 4 + 17
    assert found["scored"] == ["aː", "SIL", "SIL"]
    assert found["wrong"][0] == "non-speech characters" and "ł" in found["wrong"][1]


def test_a_lexicon_of_other_phones_is_refused_in_that_language(tmp_path):
    (tmp_path / "l.txt").write_text("nass N AA1 S\n")
    code = "import sys; from speechlm.data.lexicon import Lexicon; Lexicon.read(sys.argv[1])"
    done = in_german(tmp_path, "-c", code, str(tmp_path / "l.txt"))
    assert "no phones of" in done.stderr and "language.json: N AA1 S" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "file of a language expected"),
        ("", "file of a language expected"),
        ("[1, 2]", "no file of a language"),
        ("[" * 100_000, "no file of a language"),
        (json.dumps({**GERMAN, "letters": "a\ud800"}), "control characters"),
        (json.dumps({**GERMAN, "phones": ["a\x00"]}), "phones without blanks"),
        ("{}", "no file of a language"),
        (json.dumps({**GERMAN, "letters": "aa"}), "each once"),
        (json.dumps({**GERMAN, "letters": "a|"}), "cannot be"),
        (json.dumps({**GERMAN, "phones": ["a", "AA1"]}), "AA1"),
        (json.dumps({**GERMAN, "phones": ["a", "b_c"]}), "b_c"),
        (json.dumps({**GERMAN, "phones": []}), "list of phones"),
        (json.dumps({**GERMAN, "language": "en-GB"}), "other than English"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    file = tmp_path / "language.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_language(file)
    assert str(file) in str(error.value)


def test_without_a_file_all_is_english():
    assert LANGUAGE is ENGLISH and inventory(ENGLISH) == PHONES and len(PHONES) == 364
    assert ENGLISH.is_word("DON'T") and not ENGLISH.is_word("don't") and not ENGLISH.is_word("'")


def test_words_of_a_language_whose_letters_are_not_known_are_small_letters():
    anything = Language("tr")
    assert anything.is_word("ısı") and anything.is_word("ankara'nın")
    assert not anything.is_word("Isı") and not anything.is_word("'") and not anything.is_word("a-b")


def test_letters_are_looked_up_in_tables_of_code_points():
    table = CharacterVocabulary().table
    assert look_up(table, "A B").tolist() == look_up(table, "Aß B").tolist()[:1] + [
        4,
        look_up(table, "B")[0],
    ]
    assert (look_up(table, "ß𝄞 é") == np.array([-1, -1, 4, -1])).all()
