"""The corpus of the mini recipe."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data.librispeech import read_librispeech, read_speakers
from speechlm.data.text_normalize import is_normal

PARTS = ["train-paired", "train-unpaired", "dev", "test"]


@pytest.fixture(scope="module")
def local(root):
    """Import a module of egs/mini/local by name."""
    folder = str(root / "egs" / "mini" / "local")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)


def make(local, monkeypatch, output: Path, *options: str) -> None:
    corpus = local("make_corpus")
    sizes = ["--paired", "6", "--unpaired", "8", "--dev", "3", "--test", "4", "--text", "500"]
    sizes += ["--speakers", "3", "4", "2", "2"]
    argv = ["make_corpus.py", "--output", str(output), *sizes, *options]
    monkeypatch.setattr(sys, "argv", argv)
    corpus.main()


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_layout_and_contents(local, monkeypatch, tmp_path):
    root = tmp_path / "my corpus"
    make(local, monkeypatch, root, "--nj", "2")
    spoken: list[str] = []
    voices: list[str] = []
    genders = read_speakers(root)
    table = (root / "SPEAKERS.TXT").read_text().splitlines()[1:]
    variant = {line.split("|")[0].strip(): line.rsplit("+", 1)[1] for line in table}
    for part, n, speakers in zip(PARTS, (6, 8, 3, 4), (3, 4, 2, 2), strict=True):
        data, report = read_librispeech(root, [part])
        assert (len(data), len(data.spk2utt), report.items) == (n, speakers, [])
        assert set(data.spk2utt) <= set(genders)
        voices += {variant[s] for s in data.spk2utt}
        spoken += data.text.values()
        for path in data.wav.values():
            waveform, rate = soundfile.read(path)
            assert (rate, waveform.ndim) == (16000, 1)
            assert 1 < len(waveform) / rate < 12
            assert 0.005 < np.sqrt(np.mean(waveform**2)) < 0.2
            assert np.abs(waveform).max() < 1
    assert len(set(voices)) == len(voices)
    text = (root / "text" / "unpaired.txt").read_text().splitlines()
    assert len(set(text + spoken)) == len(text) + len(spoken) == 500 + 21
    assert all(map(is_normal, text + spoken))


def test_same_files_for_any_number_of_jobs(local, monkeypatch, tmp_path):
    make(local, monkeypatch, tmp_path / "one", "--nj", "1")
    make(local, monkeypatch, tmp_path / "two", "--nj", "2")
    make(local, monkeypatch, tmp_path / "other", "--seed", "2")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    left, right = (tmp_path / d / "text" / "unpaired.txt" for d in ("one", "other"))
    assert left.read_text() != right.read_text()


def test_speech_does_not_depend_on_what_was_said_before(local):
    synthesizer = local("espeak").Synthesizer()
    say = ("the ancient boat carried two people", "en-us+f2", 160, 50)
    first = synthesizer.say(*say, 7)
    synthesizer.say("something else altogether", "en-gb-scotland+m3", 180, 30, 9)
    np.testing.assert_array_equal(synthesizer.say(*say, 7), first)
    with pytest.raises(ValueError, match="no sound of .* with the voice xx"):
        synthesizer.say("hello", "xx", 160, 50, 1)


def test_words(local):
    """Enough words; a good part of them is never in the paired set, but in test set and text."""
    corpus = local("make_corpus")
    sizes = dict(zip(PARTS, (300, 10, 10, 200), strict=True))
    sentences = corpus.make_sentences(sizes, 20000, 0.45, 1)
    words = {part: {w for s in sentences[part] for w in s.split()} for part in sentences}
    assert len(words["text"]) > 2500
    assert len(words["text"] - words["train-paired"]) > 0.4 * len(words["text"])
    assert len(words["test"] - words["train-paired"]) > 0.4 * len(words["test"])
    assert len(words["test"] & words["text"]) > 0.98 * len(words["test"])
    lengths = [len(s.split()) for s in sentences["text"]]
    assert (min(lengths), max(lengths)) == (6, 14)


def test_rules_name_what_there_is(local):
    """Every symbol, class and form of a rule exists; every class of words is used."""
    grammar = local("grammar")
    words, rules = grammar.read_words(), grammar.read_rules()
    used = set()
    for symbol, (expansions, cumulative) in rules.items():
        assert cumulative[-1] == pytest.approx(1)
        for item in (item for expansion in expansions for item in expansion):
            if "." in item:
                name, form = item.split("'")[0].split(".")
                assert form in words[name][0], f"{symbol}: {item}"
                used.add(name)
            elif item.isupper():
                assert item in rules, f"{symbol}: {item}"
                used.add(item)
    assert used >= words.keys()
    assert used >= rules.keys() - {"S"}


def test_inflection(local):
    grammar = local("grammar")
    forms = {f["0"]: f for f in grammar.read_words()["take"] + grammar.read_words()["go"]}
    assert list(forms["drop"].values()) == ["drop", "drops", "dropped", "dropped", "dropping"]
    assert list(forms["see"].values()) == ["see", "sees", "saw", "seen", "seeing"]
    assert list(forms["carry"].values()) == ["carry", "carries", "carried", "carried", "carrying"]
    assert forms["go"]["z"] == "goes"
    assert forms["tiptoe"]["g"] == "tiptoeing"
    nouns = {f["s"]: f["p"] for f in grammar.read_words()["animal"]}
    assert (nouns["fox"], nouns["pony"], nouns["monkey"], nouns["goose"]) == (
        "foxes",
        "ponies",
        "monkeys",
        "geese",
    )


def test_too_much_is_asked(local, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="must be at least 1"):
        make(local, monkeypatch, tmp_path / "c", "--dev", "0")
    with pytest.raises(ValueError, match="min_snr <= max_snr"):
        make(local, monkeypatch, tmp_path / "c", "--min_snr", "50")
    speakers = ["--unpaired", "1000", "--speakers", "1", "1000", "1", "1"]
    with pytest.raises(ValueError, match="at most .* voices in 8 dialects"):
        make(local, monkeypatch, tmp_path / "c", *speakers)
    assert not (tmp_path / "c").exists()
