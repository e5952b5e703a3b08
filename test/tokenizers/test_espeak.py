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
        ("l#_ˈa:_t[_k`", ("l̥", "aː", "t̪", "kʼ")),
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
    with pytest.raises(ValueError, match=r"a voice for 'fo'.*not what it needs to speak"):
        Espeak("fo")  # the wheel has no dictionary of Faroese


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


def test_the_program_says_once_what_is_rare_and_where_it_is_listed(texts, tmp_path, run_main):
    file = tmp_path / "language.json"
    words = ["--language", "de", "--text", *texts, "--output", file]
    done = run_main("make_language", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("too rare") == 1
    assert f"all listed in {file}.report.txt" in done.stderr


@pytest.mark.parametrize(
    ("code", "transcript", "message"),
    [
        ("de", "我们 今天 去 学校", "script without spaces"),
        ("ja", "kyou wa", "without spaces between words"),
        ("ko", "".join(chr(0xAC00 + n) for n in range(500)), "500 different letters"),
        ("en-GB", "a house", "English is built in"),
        ("xx", "ein haus", "no voice for the language 'xx'"),
    ],
)
def test_what_has_no_words_or_no_voice_is_refused(tmp_path, code, transcript, message):
    (tmp_path / "text").write_text(f"u1 {transcript}\n")
    with pytest.raises(ValueError, match=message):
        make_language(code, [tmp_path / "text"], tmp_path / "out.json", LanguageOptions())
    assert not (tmp_path / "out.json").exists()


def make_lexicon(language, *words):
    """Run the program in a language."""
    command = [sys.executable, "-m", "speechlm.bin.make_lexicon", *map(str, words)]
    env = {**os.environ, "SPEECHLM_LANGUAGE": str(language)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_a_lexicon_of_phones_that_transcripts_do_not_teach_is_used_as_far_as_it_goes(
    texts, tmp_path
):
    given, file = tmp_path / "given.txt", tmp_path / "language.json"
    given.write_text("haus h aʊ z\ndie t ɛː\nnie n ɣ\nquiz k v ɪ s\nhaus h ɛ s\n<unk> SPN\n")
    make_language("de", texts, file, LanguageOptions(0, 2), given)
    assert "z" in read_language(file).phones and "ɛː" not in read_language(file).phones
    words = ["--text", texts[0], "--lexicon", given, "--output", tmp_path / "lexicon"]
    done = make_lexicon(file, *words)
    assert done.returncode == 0, done.stderr
    assert "2 pronunciations" in done.stderr and "nie quiz" in done.stderr
    lines = (tmp_path / "lexicon" / "lexicon.txt").read_text().splitlines()
    assert {"haus h aʊ z", "haus h ɛ s", "die t ɛ"} <= set(lines)
    given.write_text("haus HH AW1 S\n")
    done = make_lexicon(file, *words[:-1], tmp_path / "other")
    assert done.returncode == 1 and "in none are letters and phones" in done.stderr


@pytest.mark.parametrize("phones", ["h aʊ1 s", "SIL", "h a_o s"])
def test_names_of_phones_that_cannot_be_used_are_refused_where_the_file_is_made(
    texts, tmp_path, phones
):
    (tmp_path / "given.txt").write_text(f"haus {phones}\n")
    options = LanguageOptions(1e-3, 1)
    with pytest.raises(ValueError, match=r"phones without .*; rename those of .*given.txt"):
        make_language("de", texts, tmp_path / "out.json", options, tmp_path / "given.txt")
    assert not (tmp_path / "out.json").exists()


def test_a_lexicon_is_made_by_espeak_and_lists_what_it_cannot_say(texts, tmp_path):
    file = tmp_path / "language.json"
    make_language("de", texts, file, LanguageOptions(phone_count=1))
    (tmp_path / "more.txt").write_text("das haus\nhund city\n")
    values = json.loads(file.read_text())
    values["letters"] += "".join(c for c in "cityaus" if c not in values["letters"])
    file.write_text(json.dumps(values))
    words = [tmp_path / "text", tmp_path / "more.txt", "--output", tmp_path / "lexicon"]
    done = make_lexicon(file, "--text", *words)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "lexicon" / "lexicon.txt").read_text().splitlines()
    assert "haus h aʊ s" in lines and not any(line.startswith("city ") for line in lines)
    assert (tmp_path / "lexicon" / "unspoken.txt").read_text() == "city\n"
    assert (tmp_path / "lexicon" / "known.txt").read_text().splitlines() == lines
