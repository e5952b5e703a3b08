import pytest

from speechlm.score.error_rate import error_rates
from speechlm.score.gather import Scored, sections
from speechlm.score.report import save_scores
from speechlm.score.sentences import SENTENCES, write_sentences
from speechlm.score.translation import save_translation_scores, translation_scores


def test_both_kinds_in_one_report(tmp_path):
    (tmp_path / "asr").mkdir()
    save_scores(error_rates({"u": "A B"}, {"u": "A C"}), tmp_path / "asr")
    (tmp_path / "st").mkdir()
    references = {name: f"Satz {name}." for name in "abcd"}
    scores, sentences, _ = translation_scores(references, references, "de")
    save_translation_scores(scores, tmp_path / "st")
    write_sentences(tmp_path / "st" / SENTENCES, sentences, {})
    results = [
        Scored("speech", "test", tmp_path / "st"),
        Scored("scratch", "dev", tmp_path / "asr"),
        Scored("scratch", "test", tmp_path / "asr"),
    ]
    table, texts = sections(results, 2)
    assert list(texts) == ["Systems", "WER", "CER", "Translation", "Samples"]
    assert "|scratch|50.0|33.3|50.0|33.3|" in table and "|speech/test|4|" in table
    assert texts["Samples"] == (
        "test a\n\n- reference: Satz a.\n- speech: Satz a.\n\n"
        "test c\n\n- reference: Satz c.\n- speech: Satz c."
    )
    table, texts = sections(results[:1], 2)
    assert list(texts) == ["Translation", "Samples"] and "scratch" not in table


def test_folders_without_scores_are_named(tmp_path):
    with pytest.raises(ValueError, match="x/scores.json is not there; score .*x first"):
        sections([Scored("speech", "test", tmp_path / "x")], 3)
