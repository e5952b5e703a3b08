"""BLEU and chrF: sacreBLEU's values, signatures, styles; what is refused; the tables."""

import json
from importlib.metadata import version

import pytest
import sacrebleu

from speechlm.data.kaldi_dir import write_table
from speechlm.score.sentences import Sentence, read_sentences, write_sentences
from speechlm.score.translation import (
    read_translation_scores,
    save_translation_scores,
    translation_scores,
    translation_table,
)

REF = {
    "a": "Der Hund sieht heute die Katze.",
    "b": "Wer hat „Nein“ gesagt?",
    "c": "Sie wird morgen nach Hause gehen.",
}
HYP = {
    "a": "Der Hund sieht die Katze heute.",
    "b": "wer hat nein gesagt",
    "c": "Sie wird morgen nach Hause gehen.",
}


def test_scores_are_sacrebleus():
    scores, sentences, single = translation_scores(REF, HYP, "de")
    hypotheses, references = list(HYP.values()), [list(REF.values())]
    assert scores.bleu == sacrebleu.corpus_bleu(hypotheses, references).score
    assert scores.chrf == sacrebleu.corpus_chrf(hypotheses, references).score
    assert 0 < scores.bleu < 100 and scores.sentences == 3 and scores.empty_hypotheses == 0
    assert "tok:13a" in scores.bleu_signature and "case:mixed" in scores.bleu_signature
    assert f"version:{sacrebleu.__version__}" in scores.bleu_signature
    assert scores.chrf_signature.startswith("nrefs:1|case:mixed|")
    assert single["c"] == "100.0" and float(single["b"]) < 100
    assert sentences["a"] == Sentence(REF["a"], HYP["a"])


def test_without_case_and_punctuation():
    scores, sentences, _ = translation_scores(REF, HYP, "de", "lower")
    assert scores.bleu > translation_scores(REF, HYP, "de")[0].bleu
    assert sentences["b"] == Sentence("wer hat nein gesagt", "wer hat nein gesagt")


def test_the_papers_references_are_normalised_and_translations_are_not():
    translations = {**REF, "b": 'Wer hat "Nein" gesagt?'}
    scores, sentences, _ = translation_scores(REF, translations, "de", "moses")
    assert scores.bleu == pytest.approx(100)
    assert sentences["b"] == Sentence('Wer hat "Nein" gesagt?', 'Wer hat "Nein" gesagt?')
    raw, sentences, _ = translation_scores(REF, REF, "de", "moses")
    assert raw.bleu < 100 and sentences["b"].hypothesis == REF["b"]
    said = f"|refs:moses-de|sacremoses:{version('sacremoses')}"
    assert scores.bleu_signature.endswith(said) and scores.chrf_signature.endswith(said)
    assert scores.bleu_signature.startswith("nrefs:1|case:mixed|")
    table = translation_table({"test": scores})
    assert "moses (references with punctuation normalised" in table and said in table
    assert "|refs:" not in translation_scores(REF, HYP, "de")[0].bleu_signature


def test_tokenizers_follow_the_language():
    chinese = {"a": "你好世界。", "b": "我们今天去学校。"}
    scores, *_ = translation_scores(chinese, chinese, "zh-CN")
    assert scores.bleu == pytest.approx(100) and scores.tokenizer == "zh"
    assert translation_scores(REF, HYP, "de", tokenizer="char")[0].tokenizer == "char"
    with pytest.raises(ValueError, match="has no tokenizer 'words'; it has"):
        translation_scores(REF, HYP, "de", tokenizer="words")


def test_different_utterances_are_named():
    with pytest.raises(ValueError, match="1 not recognised: c; 1 without a reference: d"):
        translation_scores(REF, {**{u: HYP[u] for u in "ab"}, "d": "x"}, "de")
    with pytest.raises(ValueError, match="no utterance to score"):
        translation_scores({}, {}, "de")


def test_empty_translations_count():
    scores, *_ = translation_scores(REF, {**HYP, "a": ""}, "de")
    assert scores.empty_hypotheses == 1 and scores.brevity_penalty < 1


@pytest.mark.parametrize(("references", "style"), [(("", " "), "cased"), (("?!", "..."), "lower")])
def test_references_without_a_word_are_refused(references, style):
    table = dict(zip("ab", references, strict=True))
    with pytest.raises(ValueError, match="all 2 .*are empty"):
        translation_scores(table, {"a": "Ja.", "b": "Nein."}, "de", style)


def test_files(tmp_path):
    scores, sentences, single = translation_scores(REF, HYP, "de")
    save_translation_scores(scores, tmp_path)
    assert read_translation_scores(tmp_path) == scores
    table = translation_table({"x/test": scores})
    assert f"|x/test|3|{scores.bleu:.2f}|" in table and scores.bleu_signature in table
    write_sentences(tmp_path / "s.tsv", sentences, {"chrF": single})
    assert read_sentences(tmp_path / "s.tsv") == sentences
    (tmp_path / "s.tsv").write_text("id\treference\thypothesis\na\tb\n")
    with pytest.raises(ValueError, match="s.tsv:2: a is there with 2 fields"):
        read_sentences(tmp_path / "s.tsv")
    (tmp_path / "scores.json").write_text(json.dumps({"WER": {}}))
    with pytest.raises(ValueError, match="scores.json: no translation in it"):
        read_translation_scores(tmp_path)
    with pytest.raises(ValueError, match="stage 14"):
        read_translation_scores(tmp_path / "nowhere")


def test_mains(run_main, tmp_path):
    write_table(tmp_path / "ref", REF)
    write_table(tmp_path / "hyp", HYP)
    write_table(tmp_path / "source", dict.fromkeys(REF, "THE DOG"))
    result = run_main(
        "score_st",
        "--ref",
        tmp_path / "ref",
        "--hyp",
        tmp_path / "hyp",
        "--target_lang",
        "de",
        "--name",
        "test",
        "--source",
        tmp_path / "source",
        "--output",
        tmp_path / "score",
    )
    assert result.returncode == 0 and "BLEU" in result.stderr, result.stderr
    rows = (tmp_path / "score" / "sentences.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["id", "reference", "hypothesis", "chrF", "source"]
    assert rows[3].split("\t")[3:] == ["100.0", "THE DOG"]
    scored = [f"{name}:test:{tmp_path / 'score'}" for name in ("scratch", "speech_text")]
    result = run_main(
        "report",
        "--title",
        "mini",
        "--command",
        "./run.sh",
        "--seed",
        1,
        "--scores",
        *scored,
        "--output",
        tmp_path / "RESULTS.md",
    )
    assert result.returncode == 0, result.stderr
    report = (tmp_path / "RESULTS.md").read_text()
    assert "|speech_text/test|3|" in report and "- scratch: Der Hund sieht die" in report
    assert "- seed: 1" in report and "tok:13a" in report
    write_table(tmp_path / "hyp", {"a": "x"})
    result = run_main(
        "score_st",
        "--ref",
        tmp_path / "ref",
        "--hyp",
        tmp_path / "hyp",
        "--target_lang",
        "de",
        "--name",
        "test",
        "--output",
        tmp_path / "none",
    )
    assert result.returncode == 1 and "2 not recognised: b c" in result.stderr
    assert not (tmp_path / "none").exists()
