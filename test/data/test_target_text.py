"""Target sentences: styles, character and BPE vocabularies, what they do not cover."""

import numpy as np
import pytest
from sacremoses import MosesPunctNormalizer

from speechlm.conventions import EOS, SPECIALS, UNK
from speechlm.data.kaldi_dir import write_table
from speechlm.data.target_text import (
    TargetVocabulary,
    VocabularyOptions,
    train_vocabulary,
    write_as,
)

SENTENCES = [
    "Der Hund sieht die Katze.",
    "Die Katze schläft heute!",
    "Wer hat „Nein“ gesagt?",
    "Heute sieht der Hund nichts.",
    "Das ist's, O’Neil – ein Auf-und-ab…",
    "ﬁnde １２ Äpfel",
]


def make(**changes) -> TargetVocabulary:
    return train_vocabulary(SENTENCES, VocabularyOptions(**changes), "some sentences")


def test_styles():
    text = " „Das ist's“,  sagte O’Neil – ein Auf-und-ab…  20 % "
    assert write_as(text, "cased") == "„Das ist's“, sagte O’Neil – ein Auf-und-ab… 20 %"
    assert write_as(text, "lower") == "das ist's sagte o'neil ein auf-und-ab 20"
    assert write_as("IĞDIR", "lower", "tr") == "ığdır"
    assert write_as("'Où ça ?' 你好。", "lower") == "où ça 你好"
    assert write_as("?!", "lower") == ""
    with pytest.raises(ValueError, match="a style of cased lower moses expected, got 'upper'"):
        write_as("a", "upper")


def test_characters_give_sentences_back():
    vocabulary = make()
    assert vocabulary.tokens[:4] == SPECIALS
    assert len(vocabulary) == len(set("".join(SENTENCES))) + 4
    for sentence in SENTENCES:
        ids = vocabulary.encode(sentence)
        assert ids.dtype == np.int64 and ids[-1] == EOS and UNK not in ids
        assert len(ids) == len(sentence) + 2  # the first word's mark, EOS
        assert vocabulary.decode(ids) == sentence


def test_bpe_is_shorter_and_gives_sentences_back():
    vocabulary = make(kind="bpe", size=70)
    assert len(vocabulary) == 70
    assert sum(len(vocabulary.encode(s)) for s in SENTENCES) < sum(map(len, SENTENCES))
    assert [vocabulary.decode(vocabulary.encode(s)) for s in SENTENCES] == SENTENCES


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_what_sentencepiece_keeps_for_itself_is_unknown(kind):
    """Its blank, its sign for unknown characters; names of special ids are text like any other."""
    sentences = [*SENTENCES, "ein ▁ hier", "ein ▅ dort <unk> <s> </s> <pad>", "ein▁er", "▅"]
    vocabulary = train_vocabulary(sentences, VocabularyOptions(kind, 70), "some sentences")
    found = vocabulary.coverage({str(i): sentence for i, sentence in enumerate(sentences)})
    assert dict(found.unknown) == {"▁": 2, "▅": 2} and list(found.sentences) == [*"6789"]
    for sentence in sentences:
        ids = vocabulary.encode(sentence)
        assert list(ids).count(UNK) == sentence.count("▁") + sentence.count("▅")
        kept = " ".join(sentence.replace("▁", "").replace("▅", "").split())
        assert vocabulary.decode(ids) == kept


def test_the_language_is_kept_and_used(tmp_path):
    for language, letter in (("tr", "ı"), ("de", "i")):
        options = VocabularyOptions(style="lower", language=language)
        vocabulary = train_vocabulary(["IĞDIR"], options, "some sentences")
        assert set(vocabulary.tokens[4:]) == {"▁", "ğ", "d", "r", letter}
        assert UNK not in vocabulary.encode("IRI")
        vocabulary.write(tmp_path / language, {})
        assert TargetVocabulary.read(tmp_path / language).options == options


def test_lower_style_is_applied_before_encoding():
    vocabulary = make(style="lower")
    assert vocabulary.decode(vocabulary.encode("Der HUND!")) == "der hund"
    assert not any(piece.isupper() for piece in vocabulary.tokens[4:])


MOSES = {
    "de": ("„Ja“, sagte sie – “nein”… 20 %, 1\u00a0000", '"Ja", sagte sie - "nein"... 20%, 1,000'),
    "en": ("It’s “fine,” he said：１２。", 'It\'s "fine," he said:12.'),
    "tr": ("«Evet» dedi \u200b— hayır", '"Evet" dedi - hayır'),
    "zh-CN": ("你好，世界。好", "你好,世界. 好"),
}


@pytest.mark.parametrize("language", MOSES)
def test_punctuation_is_normalised_as_by_moses(language):
    sentence, expected = MOSES[language]
    assert write_as(sentence, "moses", language) == expected
    normalizer = MosesPunctNormalizer(
        language, pre_replace_unicode_punct=True, post_remove_control_chars=True
    )
    assert " ".join(normalizer.normalize(sentence).split()) == expected


def test_the_papers_characters_are_normalised():
    """By Moses' rules, then by sentencepiece's default, nmt_nfkc; none is left out."""
    vocabulary = make(style="moses", language="de")
    letters = set("".join(vocabulary.tokens[4:])) - {"\u2581"}
    assert not letters & set("„“’–…ﬁ１２") and {'"', "'", "-", ".", "1"} <= letters
    decoded = [vocabulary.decode(vocabulary.encode(s)) for s in SENTENCES]
    assert decoded[2] == 'Wer hat "Nein" gesagt?'
    assert decoded[4] == "Das ist's, O'Neil - ein Auf-und-ab..."
    assert decoded[5] == "finde 12 Äpfel"
    assert all(UNK not in vocabulary.encode(s) for s in SENTENCES)
    assert not vocabulary.coverage(dict(enumerate(SENTENCES))).unknown
    with pytest.raises(ValueError, match="moses needs the code.*--language"):
        VocabularyOptions(style="moses")


def test_the_style_and_language_are_kept_with_the_vocabulary(tmp_path):
    make(style="moses", language="de").write(tmp_path / "v", {})
    again = TargetVocabulary.read(tmp_path / "v")
    assert again.options == VocabularyOptions(style="moses", language="de")
    assert again.decode(again.encode("„Nein“")) == '"Nein"'


def test_coverage_names_characters_and_sentences():
    vocabulary = make()
    found = vocabulary.coverage({"a": "Der Hund", "b": "Être là", "c": "là"})
    assert dict(found.unknown) == {"Ê": 1, "à": 2} and list(found.sentences) == ["b", "c"]
    assert found.share == 3 / 15
    assert "2 characters are not covered (20.000% of all), in 2 sentences" in found.summary()
    vocabulary.check_coverage({"b": "Être là"}, "dev", 0.4)
    with pytest.raises(ValueError, match="does not cover dev.*U\\+00.*first sentence: b"):
        vocabulary.check_coverage({"b": "Être là"}, "dev", 0.3)
    assert vocabulary.coverage({"a": "Hund"}).summary() == "all characters are covered"


def test_same_text_gives_the_same_model():
    assert make().model == make().model


@pytest.mark.parametrize(
    ("sentences", "changes", "message"),
    [
        ([], {}, "there are none"),
        (["?!"], {"style": "lower"}, "there are none"),
        (SENTENCES, {"kind": "bpe", "size": 20}, "a size of .* or more is needed, got 20"),
        (SENTENCES, {"kind": "bpe", "size": 5000}, "no vocabulary of 5000 pieces"),
        (SENTENCES, {"kind": "word"}, "kind: one of char bpe expected, got 'word'"),
        (SENTENCES, {"size": 4}, "more than 4 pieces"),
    ],
)
def test_wrong_choices(sentences, changes, message):
    with pytest.raises(ValueError, match=message):
        train_vocabulary(sentences, VocabularyOptions(**changes), "a file")


def test_folders(tmp_path):
    vocabulary = make(kind="bpe", size=70, style="lower")
    vocabulary.write(tmp_path / "v", {"dev": vocabulary.coverage({"u": "là"})})
    again = TargetVocabulary.read(tmp_path / "v")
    assert again.model == vocabulary.model and again.options == vocabulary.options
    assert "dev\tu\tlà\n" in (tmp_path / "v" / "coverage.tsv").read_text()
    tokens = tmp_path / "v" / "tokens.txt"
    tokens.write_text(tokens.read_text() + "x\n")
    with pytest.raises(ValueError, match="tokens.txt does not belong to"):
        TargetVocabulary.read(tmp_path / "v")
    tokens.unlink()
    with pytest.raises(ValueError, match="tokens.txt expected, but it is not there"):
        TargetVocabulary.read(tmp_path / "v")
    with pytest.raises(ValueError, match="is no sentencepiece model"):
        TargetVocabulary(b"nothing", VocabularyOptions(), "a file")


def test_main(run_main, tmp_path):
    write_table(tmp_path / "text.de", {f"u{i}": s for i, s in enumerate(SENTENCES)})
    write_table(tmp_path / "dev.de", {"u1": "Der Hund sieht die Katze là"})
    words = ["--output", tmp_path / "v", "--text", tmp_path / "text.de", "--check"]
    words.append(tmp_path / "dev.de")
    result = run_main("train_vocabulary", *words)
    assert result.returncode == 1 and "does not cover" in result.stderr
    assert not (tmp_path / "v").exists()
    result = run_main("train_vocabulary", *words, "--max_unknown_share", 0.1)
    assert result.returncode == 0 and "pieces of 6 sentences" in result.stderr
    assert "1 characters are not covered" in result.stderr


def test_joiners_that_a_style_leaves_out_are_told(caplog):
    for style in ("lower", "moses"):
        assert not caplog.text
        options = VocabularyOptions(style=style, language="fa")
        train_vocabulary(["می\u200cروم", "خانه"], options, "train")
    assert "train: 1 sentences have zero-width joiners" in caplog.text
