"""Pronunciations by espeak-ng, and the file of a language that is made of them."""

import json
import os
import subprocess
import sys

import pytest

from speechlm.data.language import read_language
from speechlm.tokenizers.espeak import Espeak, fit, phones_of
from speechlm.tokenizers.make_language import LanguageOptions, make_language

pytest.importorskip("espeakng_loader")


@pytest.mark.parametrize(
    ("said", "phones"),
    [
        ("ʃ_t_ɾ_ˈɑː_s_ə", ("ʃ", "t", "ɾ", "ɑː", "s", "ə")),
        ("_ˈɛ_l_ _h_ˌɔ_m", ("ɛ", "l", "h", "ɔ", "m")),
        ("z_d__r_ˈɑ", ("z", "d", "r", "ɑ")),
        ("v_ˈiɛ6_t̪_", ("v", "iɛ", "t̪")),
        ("e\u0303", ("ẽ",)),
        ("_ː_", ()),
    ],
)
def test_stress_and_tones_go_and_length_stays(said, phones):
    assert phones_of(said) == phones


def test_rare_phones_give_way_to_simpler_ones():
    known = {"a", "iː", "p", "f", "t", "ɔ"}
    assert fit(("p", "iː", "aː"), known) == ("p", "iː", "a")
    assert fit(("pf", "ɔ̃", "tʲ"), known) == ("p", "f", "ɔ", "t")
    assert fit(("a", "x"), known) == ()


@pytest.mark.parametrize(
    ("code", "word", "phones"),
    [
        ("de", "staat", "ʃ t ɑː t"),
        ("de", "stadt", "ʃ t a t"),
        ("tr", "ısı", "ɯ s ɯ"),
        ("pl", "żona", "ʒ ɔ n a"),
        ("pl", "z", "z"),
        ("ru", "в", "v"),
        ("cs", "k", "k"),
        ("es", "y", "i"),
        ("el", "λόγος", "l o ɣ o s"),
        ("fr", "bon", "b ɔ̃"),
        ("sv-SE", "ja", "j ɑː"),
        ("uk", "п'ять", None),
    ],
)
def test_words_are_said_by_the_rules_of_their_language(code, word, phones):
    found = Espeak(code)([word])[0]
    assert found and (phones is None or " ".join(found) == phones)


def test_words_of_a_third_language_and_unknown_languages():
    said = Espeak("de")(["haus", "meeting", "computer", "city"])
    assert said[0] and not said[3]
    with pytest.raises(ValueError, match=r"no voice for the language 'xx'.* de "):
        Espeak("xx")


SENTENCES = [
    "die straße ist naß",
    "der hund bellt im haus",
    "wo ist der große hund",
    "das haus steht in der straße",
    "der hund ist im haus naß",
]


@pytest.fixture
def texts(tmp_path):
    """Transcripts and text of made-up German."""
    (tmp_path / "text").write_text("".join(f"u{n} {s}\n" for n, s in enumerate(SENTENCES)))
    (tmp_path / "unpaired.txt").write_text("wir äßen gern\n" * 300 + "łódź\n")
    return [tmp_path / "text", tmp_path / "unpaired.txt"]


def test_the_file_has_letters_of_all_texts_and_phones_of_transcripts(texts, tmp_path):
    options = LanguageOptions(letter_share=1e-3, phone_count=2)
    report = make_language("de", texts, tmp_path / "language.json", options)
    language = read_language(tmp_path / "language.json")
    assert {"ß", "ä", "w"} <= set(language.letters) and "ł" not in language.letters
    assert report.foreign["ł"] == 1
    assert {"h", "aʊ", "n", "t"} <= set(language.phones)
    assert all(report.phones[phone] >= 2 for phone in language.phones)
    report.write(tmp_path / "report.txt")
    assert "foreign: " in (tmp_path / "report.txt").read_text()


@pytest.mark.parametrize(
    ("code", "transcript", "message"),
    [
        ("de", "我们 今天 去 学校", "script without spaces"),
        ("ja", "kyou wa", "without spaces between words"),
        ("ko", "".join(chr(0xAC00 + n) for n in range(500)), "500 different letters"),
        ("xx", "ein haus", "no voice for the language 'xx'"),
    ],
)
def test_what_has_no_words_or_no_voice_is_refused(tmp_path, code, transcript, message):
    (tmp_path / "text").write_text(f"u1 {transcript}\n")
    with pytest.raises(ValueError, match=message):
        make_language(code, [tmp_path / "text"], tmp_path / "out.json", LanguageOptions())
    assert not (tmp_path / "out.json").exists()


def test_a_lexicon_is_made_by_espeak_and_lists_what_it_cannot_say(texts, tmp_path):
    file = tmp_path / "language.json"
    make_language("de", texts, file, LanguageOptions(phone_count=1))
    (tmp_path / "more.txt").write_text("das haus\nhund city\n")
    values = json.loads(file.read_text())
    values["letters"] += "".join(c for c in "cityaus" if c not in values["letters"])
    file.write_text(json.dumps(values))
    command = [sys.executable, "-m", "speechlm.bin.make_lexicon", "--text", str(tmp_path / "text")]
    command += [str(tmp_path / "more.txt"), "--output", str(tmp_path / "lexicon")]
    env = {**os.environ, "SPEECHLM_LANGUAGE": str(file)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "lexicon" / "lexicon.txt").read_text().splitlines()
    assert "haus h aʊ s" in lines and not any(line.startswith("city ") for line in lines)
    assert (tmp_path / "lexicon" / "unspoken.txt").read_text() == "city\n"
    assert (tmp_path / "lexicon" / "known.txt").read_text().splitlines() == lines
