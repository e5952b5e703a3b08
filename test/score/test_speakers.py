"""Error rates of speakers, counted by hand."""

import pytest

from speechlm.data.kaldi_dir import write_table
from speechlm.score.error_rate import error_rates
from speechlm.score.speakers import read_speakers, speaker_errors, speakers_table, write_speakers

SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b", "c-1": "c"}


def errors():
    references = {"a-1": "A B", "a-2": "C D", "b-1": "E", "c-1": ""}
    hypotheses = {"a-1": "A B", "a-2": "C X Y", "b-1": "", "c-1": "NOISE"}
    return speaker_errors(error_rates(references, hypotheses), SPEAKERS)


def test_counts_of_each_speaker(tmp_path):
    write_speakers(errors(), tmp_path / "per_spk")
    assert (tmp_path / "per_spk").read_text().splitlines() == [
        "speaker\tSnt\tWrd\tCorr\tSub\tDel\tIns\tErr\tS.Err\tCER",
        # C|D to C|X|Y: 3 of 6 characters are wrong (D to X, and |Y inserted)
        "a\t2\t4\t75.0\t25.0\t0.0\t25.0\t50.0\t50.0\t50.0",
        "b\t1\t1\t0.0\t0.0\t100.0\t0.0\t100.0\t100.0\t100.0",
        "c\t1\t0\t0.0\t0.0\t0.0\t100.0\t100.0\t100.0\t500.0",
    ]


def test_figures_over_speakers_are_of_those_that_speak():
    text = speakers_table(errors(), 1)
    assert "Speakers (2, 1 more without a word in the references)" in text
    assert "|WER|75.0|35.4|75.0|50.0|100.0|" in text  # of 50 and 100: sd = 50 / sqrt(2)
    assert "|b|1|1|" in text and "|a|2|4|" not in text
    one = speakers_table({"a": errors()["a"]}, 5)
    assert "|WER|50.0|-|50.0|50.0|50.0|" in one


def test_speakers_lie_beside_the_references(tmp_path):
    assert read_speakers(tmp_path / "text", ["a-1"]) is None
    write_table(tmp_path / "utt2spk", SPEAKERS)
    assert read_speakers(tmp_path / "text", ["a-1"]) == {"a-1": "a"}
    with pytest.raises(ValueError, match="utt2spk: a speaker for each .* none for 2: d-1 d-2"):
        read_speakers(tmp_path / "text", ["a-1", "d-2", "d-1"])
