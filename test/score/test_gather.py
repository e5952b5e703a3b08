import pytest

from speechlm.data.kaldi_dir import write_table
from speechlm.score.gather import sections
from speechlm.score.recognition import Decoding, score_decoding
from speechlm.score.recognition_report import Scored
from speechlm.score.sentences import SENTENCES, write_sentences
from speechlm.score.translation import save_translation_scores, translation_scores


def test_both_kinds_in_one_report(tmp_path):
    (tmp_path / "asr").mkdir()
    for name, sentence in (("ref", "A B"), ("hyp", "A C")):
        write_table(tmp_path / name, {"u": sentence})
    score_decoding(Decoding(tmp_path / "ref", tmp_path / "hyp"), "dev", tmp_path / "asr")
    (tmp_path / "st").mkdir()
    references = {name: f"Satz {name}." for name in "abcd"}
    scores, sentences, _ = translation_scores(references, references, "de")
    save_translation_scores(scores, tmp_path / "st")
    write_sentences(tmp_path / "st" / SENTENCES, sentences, {})
    results = [
        Scored("speech", "", "test", tmp_path / "st"),
        Scored("scratch", "", "dev", tmp_path / "asr"),
        Scored("scratch", "", "test", tmp_path / "asr"),
    ]
    table, texts = sections(results, 2, 100, 1)
    assert list(texts) == [
        "Systems",
        "Decoding of dev",
        "Decoding of test",
        "WER",
        "CER",
        "Translation",
        "Samples",
    ]
    assert "|scratch|50.0|33.3|50.0|33.3|" in table and "|speech/test|4|" in table
    assert texts["Samples"] == (
        "test a\n\n- reference: Satz a.\n- speech: Satz a.\n\n"
        "test c\n\n- reference: Satz c.\n- speech: Satz c."
    )
    for n_samples, shown in ((3, "abc"), (4, "abcd"), (9, "abcd"), (1, "a")):
        samples = sections(results, n_samples, 100, 1)[1]["Samples"]
        assert samples.count("- reference: ") == len(shown) == samples.count("- speech: ")
        assert all(f"test {name}\n" in samples for name in shown)
    assert "Samples" not in sections(results, 0, 100, 1)[1]
    table, texts = sections(results[:1], 2, 100, 1)
    assert list(texts) == ["Translation", "Samples"] and "scratch" not in table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no WER in it"),
        ('{"WER": 3}', "no WER in it"),
        ('{"WER": {"tokens": 3, "x": 1}}', "WER has not what was stored .*'x'"),
        ("[1]", r"holds no scores by name .*found \[1\]"),
        ("{", "is cut off or damaged"),
        ('{"translation": null}', "no translation in it"),
        ('{"translation": {"bleu": 1.5}}', "has not what was stored .*chrf"),
    ],
)
def test_damaged_scores_are_named(tmp_path, content, message):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ValueError, match=rf"scores\.json.*{message}.*score again \(stage 14\)"):
        sections([Scored("speech", "", "test", tmp_path)], 3, 100, 1)


def test_folders_without_scores_are_named(tmp_path):
    with pytest.raises(ValueError, match="x/scores.json is not there; score .*x first"):
        sections([Scored("speech", "", "test", tmp_path / "x")], 3, 100, 1)


def test_two_results_of_one_name_are_refused(tmp_path):
    results = [Scored("system", "", "dev", tmp_path / name) for name in "ab"]
    with pytest.raises(ValueError, match="more of system:dev"):
        sections(results, 3, 100, 1)
