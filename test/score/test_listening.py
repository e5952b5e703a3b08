"""Utterances to listen to: which, word under word, audio that plays."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from speechlm.data.kaldi_dir import write_table
from speechlm.data.opus import encode_opus
from speechlm.score.listening import listening
from speechlm.score.recognition import Decoding, score_decoding
from speechlm.score.recognition_report import Scored


@pytest.fixture
def scored(tmp_path):
    """Function: hypotheses of a data directory -> a result."""

    def score(data, name, written, decoder="greedy"):
        write_table(tmp_path / "ref", data.text)
        write_table(tmp_path / "hyp", written)
        (tmp_path / name).mkdir()
        score_decoding(Decoding(tmp_path / "ref", tmp_path / "hyp"), "test", tmp_path / name)
        return Scored(name, decoder, "test", tmp_path / name)

    return score


@pytest.fixture(scope="module")
def data(make_data_dir, tmp_path_factory):
    return make_data_dir(tmp_path_factory.mktemp("data") / "test", 6, 1, units=False)


def cells(row):
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", row)]


def test_words_stand_under_words(data, scored, tmp_path):
    utterance = data.ids[0]
    data.text[utterance] = "ONE TWO <B> FOUR"
    written = dict(data.text)
    written[utterance] = "ZERO ONE & FOUR FIVE"
    good, bad = scored(data, "good", data.text), scored(data, "bad", written, "ngram")
    folder = next(iter(data.wav.values())).rpartition("/wav/")[0]
    shown = listening([good, bad], {"test": folder}, 1)
    assert shown.count("<audio") == 1 and f"test: {utterance}" in shown
    rows = [cells(row) for row in re.findall(r"<tr>.*?</tr>", shown)]
    assert rows[0] == ["said", "errors", "ONE", "TWO", "&lt;B&gt;", "FOUR"]
    assert rows[1] == ["good greedy", "0 of 4", "ONE", "TWO", "&lt;B&gt;", "FOUR"]
    assert rows[2][:2] == ["bad ngram", "4 of 4"]
    words = rows[2][2:]
    assert words[0] == " inserted: +ZEROONE" and words[3] == "FOUR inserted: +FIVE"
    assert sorted(words[1:3]) == ["missing&#8709;", "wrong: &amp;"]
    assert "<B>" not in shown and "& " not in shown


def test_the_audio_plays(data, scored):
    result = scored(data, "good", data.text)
    folder = next(iter(data.wav.values())).rpartition("/wav/")[0]
    shown = listening([result], {"test": folder}, 4)
    sources = re.findall(r'src="data:audio/ogg;base64,([^"]*)"', shown)
    names = re.findall(r"<h3>test: (.*?)</h3>", shown)
    assert len(sources) == 4 and names == [data.ids[n] for n in (0, 1, 3, 4)]
    for source, name in zip(sources, names, strict=True):
        contents = base64.b64decode(source)
        wave, rate = soundfile.read(io.BytesIO(contents))
        expected = data.waveform(name)
        assert rate == 16000 and len(wave) == len(expected)
        assert len(contents) < 0.5 * 2 * len(expected)
        assert np.corrcoef(wave, expected)[0, 1] > 0.9


def test_samples_beyond_the_range_are_clipped():
    wave, _ = soundfile.read(io.BytesIO(encode_opus(np.full(8000, 3.0))))
    assert np.abs(wave).max() < 1.5 and len(wave) == 8000


def test_a_set_without_scores_is_named(data, scored):
    result = scored(data, "good", data.text)
    with pytest.raises(ValueError, match="no scores of dev; the test sets of --audio need some"):
        listening([result], {"test": "x", "dev": "y"}, 4)


def test_only_utterances_that_all_systems_have_written_are_shown(data, scored):
    some = dict(list(data.text.items())[1:3])
    all_of_them, few = scored(data, "all", data.text), scored(data, "few", data.text)
    table = (few.folder / "sentences.tsv").read_text().splitlines()
    few_lines = [table[0], *(line for line in table[1:] if line.split("\t")[0] in some)]
    (few.folder / "sentences.tsv").write_text("\n".join(few_lines) + "\n")
    folder = next(iter(data.wav.values())).rpartition("/wav/")[0]
    shown = listening([all_of_them, few], {"test": folder}, 4)
    assert re.findall(r"<h3>test: (.*?)</h3>", shown) == sorted(some)
    (few.folder / "sentences.tsv").write_text(table[0] + "\n")
    with pytest.raises(ValueError, match=r"in all of .*few, but there are none"):
        listening([all_of_them, few], {"test": folder}, 4)
