"""Comparison of two results: intervals, the paired test, what is refused."""

import numpy as np
import pytest
import sacrebleu

from speechlm.data.kaldi_dir import write_table
from speechlm.score.compare import (
    Result,
    check_comparable,
    compare,
    compare_pairs,
    metrics_of,
    most_different,
    read_result,
)
from speechlm.score.error_rate import error_rates
from speechlm.score.sentences import Sentence

WORDS = ["der", "hund", "sieht", "heute", "die", "katze", "und", "geht", "morgen", "nach", "haus"]


def results(wrong_a: float, wrong_b: float, n: int = 120, kind: str = "st", seed: int = 0):
    """Two results in which a share of the words is replaced."""
    rng = np.random.default_rng(seed)
    made = []
    references = [" ".join(rng.choice(WORDS, rng.integers(5, 12))) for _ in range(n)]
    for name, share in (("A", wrong_a), ("B", wrong_b)):
        sentences = {}
        for i, reference in enumerate(references):
            words = [w if rng.random() > share else "falsch" for w in reference.split()]
            sentences[f"u{i:04d}"] = Sentence(reference, " ".join(words))
        made.append(Result(name, kind, sentences))
    return made


def texts(result: Result) -> tuple[dict, dict]:
    pairs = result.sentences.items()
    return {u: s.reference for u, s in pairs}, {u: s.hypothesis for u, s in pairs}


def test_scores_are_those_of_scoring():
    a, b = results(0.2, 0.3)
    bleu, chrf = metrics_of("st")
    found = compare(a, b, bleu, 20, 1)
    reference, hypothesis = (list(t.values()) for t in texts(b))
    assert found.scores[1] == pytest.approx(sacrebleu.corpus_bleu(hypothesis, [reference]).score)
    found = compare(a, b, chrf, 20, 1)
    assert found.scores[1] == pytest.approx(sacrebleu.corpus_chrf(hypothesis, [reference]).score)
    wer, cer = metrics_of("asr")
    rates = error_rates(*texts(a))
    assert compare(a, b, wer, 20, 1).scores[0] == pytest.approx(rates.words.rate)
    assert compare(a, b, cer, 20, 1).scores[0] == pytest.approx(rates.characters.rate)


@pytest.mark.parametrize("kind", ["st", "asr"])
def test_a_real_difference_is_found(kind):
    found = compare(*results(0.1, 0.25), metrics_of(kind)[0], 300, 1)
    assert found.p_value == pytest.approx(1 / 301)
    assert not found.difference[0] <= 0 <= found.difference[1]
    for score, (low, high) in zip(found.scores, found.intervals, strict=True):
        assert low < score < high


def error_counts(rng: np.random.Generator, shares: tuple[float, float], n: int = 100):
    """Statistics of two systems on sentences of 3 to 30 words, half of them harder."""
    words = rng.integers(3, 31, n)
    harder = rng.choice([0.5, 1.5], n)
    errors = [rng.binomial(words, share * harder) for share in shares]
    return [np.stack([wrong, words], 1) for wrong in errors]


def compare_counts(counts: list[np.ndarray], n_samples: int, seed: int):
    """Of two systems under WER."""
    metric = metrics_of("asr")[0]
    return compare_pairs(np.stack(counts), [(0, 1)], metric, n_samples, seed)[1][0]


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 400 corpora; 95 % of the intervals would be 380, 3.5 standard deviations are 15."""
    held = dict.fromkeys(("A", "B", "difference"), 0)
    shares = (0.2, 0.3)
    for seed in range(400):
        counts = error_counts(np.random.default_rng(seed), shares)
        found = compare_counts(counts, 300, seed)
        for name, share, (low, high) in zip("AB", shares, found.intervals, strict=True):
            held[name] += low <= 100 * share <= high
        held["difference"] += found.difference[0] <= 10.0 <= found.difference[1]
    assert all(365 <= count <= 395 for count in held.values()), held


def test_p_values_are_uniform_without_a_difference():
    """Of 500 pairs of systems that are alike, p is at most x for 500 x, within 3.5 deviations."""
    values = []
    for seed in range(500):
        counts = error_counts(np.random.default_rng(seed), (0.2, 0.2))
        values.append(compare_counts(counts, 99, seed).p_value)
    for x in (0.05, 0.1, 0.25, 0.5, 0.75):
        deviation = (500 * x * (1 - x)) ** 0.5
        assert abs(sum(p <= x for p in values) - 500 * x) <= 3.5 * deviation, x


def test_intervals_have_the_width_of_the_binomial():
    """Words of equal sentences that are wrong independently: sd = sqrt(p (1 - p) / n)."""
    rng = np.random.default_rng(1)
    right = np.array(["a", "b", "c", "d", "e"])
    sentences = {}
    for i in range(400):
        written = np.where(rng.random(5) < 0.2, "x", right)
        sentences[f"u{i:04d}"] = Sentence(" ".join(right), " ".join(written))
    result = Result("A", "asr", sentences)
    low, high = compare(result, result, metrics_of("asr")[0], 1000, 1).intervals[0]
    assert high - low == pytest.approx(2 * 1.96 * 100 * (0.2 * 0.8 / 2000) ** 0.5, rel=0.15)


def test_equal_results_do_not_differ():
    a, _ = results(0.2, 0.2)
    found = compare(a, a, metrics_of("st")[0], 50, 1)
    assert found.p_value == 1.0 and found.difference == (0.0, 0.0)
    assert most_different(a, a, metrics_of("st")[1], 5) == []


def test_sentences_that_differ_most():
    a, b = results(0.0, 0.0)
    b.sentences["u0007"] = Sentence(a.sentences["u0007"].reference, "ganz anders")
    found = most_different(a, b, metrics_of("asr")[0], 5)
    assert [utterance for utterance, _, _ in found] == ["u0007"] and found[0][1] == 0


def test_seeds_make_it_repeatable():
    a, b = results(0.2, 0.25)
    metric = metrics_of("asr")[0]
    assert compare(a, b, metric, 100, 1) == compare(a, b, metric, 100, 1)
    assert compare(a, b, metric, 100, 1).intervals != compare(a, b, metric, 100, 2).intervals


def test_other_utterances_or_references_are_named():
    a, b = results(0.2, 0.2)
    del b.sentences["u0003"]
    with pytest.raises(ValueError, match="only A has 1: u0003"):
        check_comparable(a, b)
    b.sentences["u0003"] = Sentence("etwas anderes", "x")
    with pytest.raises(ValueError, match="1 utterances have different references: u0003"):
        check_comparable(a, b)
    with pytest.raises(ValueError, match="A is st .* B asr"):
        check_comparable(a, Result("B", "asr", a.sentences))


def test_main_on_folders_and_files(run_main, tmp_path):
    a, b = results(0.1, 0.3, 40)
    write_table(tmp_path / "ref", texts(a)[0])
    for result in (a, b):
        write_table(tmp_path / result.name / "text", texts(result)[1])
    words = ["--ref", tmp_path / "ref", "--samples", 50]
    found = run_main("compare", tmp_path / "A", tmp_path / "B" / "text", *words, "--kind", "asr")
    assert found.returncode == 0 and "|WER|" in found.stdout, found.stderr
    assert "Sentences that differ most (errors)" in found.stdout
    for result in (a, b):
        scored = run_main(
            "score_st",
            "--ref",
            tmp_path / "ref",
            "--hyp",
            tmp_path / result.name / "text",
            "--target_lang",
            "de",
            "--name",
            "x",
            "--output",
            tmp_path / result.name / "score",
        )
        assert scored.returncode == 0
    found = run_main(
        "compare",
        tmp_path / "A",
        tmp_path / "B" / "score",
        "--samples",
        50,
        "--output",
        tmp_path / "c.md",
    )
    assert found.returncode == 0 and "|BLEU|" in found.stdout, found.stderr
    assert (tmp_path / "c.md").read_text() == found.stdout
    scored = run_main(
        "score",
        "--ref",
        tmp_path / "ref",
        "--hyp",
        tmp_path / "A" / "text",
        "--name",
        "x",
        "--output",
        tmp_path / "asr",
    )
    assert scored.returncode == 0
    assert read_result(tmp_path / "asr", None, None).kind == "asr"


def test_main_refuses_what_is_incomplete(run_main, tmp_path):
    a, b = results(0.1, 0.3, 10)
    write_table(tmp_path / "ref", texts(a)[0])
    write_table(tmp_path / "a", texts(a)[1])
    write_table(tmp_path / "b", dict(list(texts(b)[1].items())[:-1]) | {"zz": "x"})
    words = [tmp_path / "a", tmp_path / "b", "--ref", tmp_path / "ref", "--kind", "st"]
    found = run_main("compare", *words)
    assert found.returncode == 1
    assert "1 not recognised: u0009; 1 without a reference: zz" in found.stderr
    assert "--ref and --kind are needed" in run_main("compare", *words[:2]).stderr
    assert "or a text file, expected" in run_main("compare", tmp_path / "x", tmp_path / "a").stderr


def test_damaged_scores_are_not_taken_for_those_of_recognition(run_main, tmp_path):
    for name, table in zip(("ref", "hyp"), texts(results(0.1, 0.3, 10)[0]), strict=True):
        write_table(tmp_path / name, table)
    words = ["--ref", tmp_path / "ref", "--hyp", tmp_path / "hyp", "--name", "x"]
    folder = tmp_path / "scores"
    run_main("score_st", *words, "--target_lang", "de", "--output", folder)
    assert "|BLEU|" in run_main("compare", folder, folder).stdout
    (folder / "scores.json").write_text("{")
    found = run_main("compare", folder, folder)
    assert found.returncode == 1 and "scores.json is cut off or damaged" in found.stderr
