"""Systems trained with several seeds: what is found, means, intervals, tests, tables."""

import numpy as np
import pytest

from speechlm.score import compare
from speechlm.score.seed_tables import read_rates
from speechlm.score.seeds import (
    Difference,
    Trained,
    _bootstrap,
    chance,
    find_results,
    measure,
    over_seeds,
)
from speechlm.score.sentences import Sentence, write_sentences

WER = compare.metrics_of("asr")[0]
WORDS = [f"WORD{chr(65 + i)}" for i in range(20)]


def references(n=40, test="test"):
    rng = np.random.default_rng(len(test))
    return {f"{test}-{i:04d}": " ".join(rng.choice(WORDS, 8)) for i in range(n)}


def write_scores(folder, share, n=40, test="test", seed=0):
    """A folder of scores in which a share of the words is wrong; the WER."""
    rng = np.random.default_rng([seed, round(1000 * share)])
    sentences, wrong = {}, 0
    for name, text in references(n, test).items():
        words = [w if rng.random() > share else "X" for w in text.split()]
        wrong += words.count("X")
        sentences[name] = Sentence(text, " ".join(words))
    folder.mkdir(parents=True)
    write_sentences(folder / "sentences.tsv", sentences, {})
    (folder / "scores.json").write_text("{}")
    return 100 * wrong / (8 * n)


@pytest.fixture
def exp(tmp_path):
    """Three seeds of two systems, the third without the second system's n-gram; and an HMM."""
    rates = {}
    for seed in (2, 10, 1):
        for system, share in (("speech", 0.6), ("speech_text", 0.3)):
            for decoder, less in (("", 0.0), ("_ngram", 0.15)):
                if (seed, system, decoder) != (10, "speech_text", "_ngram"):
                    folder = tmp_path / "exp" / f"asr_{system}_seed{seed}" / f"decode_test{decoder}"
                    rates[system, decoder, seed] = write_scores(
                        folder / "score", share - less, seed=seed
                    )
    write_scores(tmp_path / "exp" / "hmm" / "decode_test_ngram" / "score", 0.25)
    return tmp_path / "exp", rates


def by_name(measured, metric="WER"):
    return {rate.name: rate for rate in measured.rates if rate.metric == metric}


def test_means_and_deviations_are_those_of_the_seeds(exp):
    folder, expected = exp
    results, unscored = find_results([folder], ["test"], "seed")
    assert len(results) == 11 and not unscored
    found = by_name(measure(results, [], 100, 1))
    values = [expected["speech", "_ngram", seed] for seed in (1, 2, 10)]
    rate = found["speech", "ngram"]
    assert [*rate.by_seed] == [1, 2, 10] and [*rate.by_seed.values()] == pytest.approx(values)
    assert rate.mean == pytest.approx(np.mean(values))
    assert rate.deviation == pytest.approx(np.std(values, ddof=1))
    assert rate.interval[0] < rate.mean < rate.interval[1]
    assert [*found["speech_text", "ngram"].by_seed] == [1, 2]


def test_a_seed_that_lacks_a_system_is_named_and_left_out_of_the_pair(exp):
    folder, expected = exp
    results, _ = find_results([folder], ["test"], "seed")
    measured = measure(results, ["speech:speech_text"], 100, 1)
    greedy, ngram = (d for d in measured.differences if d.metric == "WER")
    assert (greedy.a, greedy.b) == (("speech", "greedy"), ("speech_text", "greedy"))
    assert ngram.a[1] == ngram.b[1] == "ngram"
    assert [*greedy.by_seed] == [1, 2, 10] and [*ngram.by_seed] == [1, 2]
    assert ngram.by_seed[2] == pytest.approx(
        expected["speech_text", "_ngram", 2] - expected["speech", "_ngram", 2]
    )
    assert greedy.agreeing == 3 and greedy.interval[1] < 0 and greedy.p_value == 1 / 101
    assert measured.missing == [
        "test: speech_text ngram has no seed 10",
        "test: speech ngram and speech_text ngram are compared without seed 10, which one lacks",
    ]


def test_a_result_without_seed_stands_beside_each_seed_of_the_other(exp):
    folder, _ = exp
    results, _ = find_results([folder], ["test"], "seed")
    results.append(Trained("HMM", "ngram", "test", None, folder / "hmm/decode_test_ngram/score"))
    assert not measure(results, ["no:speech"], 100, 1).differences  # said, but no error
    measured = measure(results, ["HMM/ngram:speech", "no:speech"], 100, 1)
    hmm = by_name(measured)["HMM", "ngram"]
    assert [*hmm.by_seed] == [None] and hmm.deviation is None
    greedy = next(d for d in measured.differences if d.b == ("speech", "greedy"))
    rate = by_name(measured)["speech", "greedy"]
    assert [*greedy.by_seed] == [1, 2, 10] and greedy.mean == pytest.approx(rate.mean - hmm.mean)
    assert "test: no and speech are not compared, as both are not there" in measured.missing


@pytest.mark.parametrize(
    ("metric", "mean", "interval", "p", "verdict"),
    [
        ("WER", -2.0, (-3.0, -1.0), 0.05, "better"),
        ("CER", 2.0, (1.0, 3.0), 0.01, "worse"),
        ("BLEU", 2.0, (1.0, 3.0), 0.01, "better"),
        ("chrF", -2.0, (-3.0, -1.0), 0.01, "worse"),
        ("WER", -2.0, (-3.0, -1.0), 0.06, "no clear difference"),
        ("WER", -2.0, (-5.0, 1.0), 0.01, "no clear difference"),  # seeds differ more than that
    ],
)
def test_verdicts_need_the_test_and_the_interval(metric, mean, interval, p, verdict):
    found = Difference(("a", ""), ("b", ""), "test", metric, {1: mean}, interval, p)
    assert found.verdict == verdict


@pytest.mark.parametrize("pair", ["speech", "speech:a:b", "speech/x/y:b", ":b", "speech/:b"])
def test_pairs_that_cannot_be(exp, pair):
    results, _ = find_results([exp[0]], ["test"], "seed")
    with pytest.raises(ValueError, match="--pairs"):
        measure(results, [pair], 100, 1)


def test_names_of_folders(tmp_path):
    for name in (
        "asr_speech_text_text1000_seed2/decode_test_other",  # a test set, not a decoder
        "asr_speech_text_text1000_seed2/decode_test_other_large",
        "asr_speech_seed1/decode_test",
        "asr_speech_seed1/decode_dev_ngram",
        "asr_speech/decode_test",  # not of a seed
        "asr_speech_seed1b/decode_test",
        "st_speech_zh-CN_seed1/decode_test",
    ):
        write_scores(tmp_path / name / "score", 0.5)
    (tmp_path / "asr_speech_seed3" / "decode_test").mkdir(parents=True)
    results, unscored = find_results([tmp_path], ["test", "test_other"], "seed")
    assert {(r.system, r.decoder, r.test, r.seed) for r in results} == {
        ("speech_text_text1000", "greedy", "test_other", 2),
        ("speech_text_text1000", "large", "test_other", 2),
        ("speech", "greedy", "test", 1),
        ("speech", "", "test zh-CN", 1),
    }
    assert len(unscored) == 1 and "asr_speech_seed3/decode_test has no scores" in unscored[0]
    named, _ = find_results([tmp_path], ["test_other"], "text1000_seed")
    assert {r.system for r in named} == {"speech_text"}
    with pytest.raises(ValueError, match="two results of the same seed"):
        find_results([tmp_path, tmp_path], ["test"], "seed")
    with pytest.raises(ValueError, match=r"asr_SYSTEM_tagN/decode_TEST/score, N the seed"):
        find_results([tmp_path], ["test"], "tag")


def test_test_sets_that_were_taken_for_decoders(tmp_path):
    write_scores(tmp_path / "asr_a_seed1" / "decode_test" / "score", 0.5)
    write_scores(tmp_path / "asr_a_seed1" / "decode_test_other" / "score", 0.5, test="other")
    results, _ = find_results([tmp_path], ["test"], "seed")
    with pytest.raises(ValueError, match=r"different utterances.*are all test sets named"):
        measure(results, [], 100, 1)


def test_the_mean_is_drawn_as_widely_as_seeds_make_it():
    """Without a draw of utterances the variance is s^2 / K, with the unbiased s^2."""
    values = np.array([10.0, 11.0, 15.0])
    drawn = over_seeds(np.tile(values, (40_000, 1)), 1)
    assert drawn.mean() == pytest.approx(12, abs=0.05)
    assert drawn.std() == pytest.approx(values.std(ddof=1) / np.sqrt(3), rel=0.02)
    assert np.array_equal(over_seeds(values[:, None], 1), values)  # a single seed


def simulated(rng, seeds, n=150, seed_deviation=0.0, shared=0.5, by_seed=0.3):
    """(seeds, N, 2) errors and words; what is hard is mostly the same for all seeds."""
    words = rng.integers(3, 14, n)
    hard = np.exp(rng.normal(0, shared, n) + rng.normal(0, by_seed, (seeds, n)))
    hard /= np.exp((shared**2 + by_seed**2) / 2)
    chances = np.clip(0.2 * hard + rng.normal(0, seed_deviation, (seeds, 1)), 0, 1)
    errors = rng.binomial(words, chances)
    return np.stack([errors, np.broadcast_to(words, errors.shape)], -1)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 200 tries with four seeds; 95 % of the intervals would be 190, 4 deviations are 12."""
    rng = np.random.default_rng(1)
    many = simulated(rng, 400, 400, seed_deviation=0.02).sum((0, 1))
    truth = 100 * many[0] / many[1]
    held = held_by_utterances = 0
    for seed in range(200):
        values = _bootstrap(simulated(rng, 4, seed_deviation=0.02), WER, 200, seed)
        low, high = compare.interval(over_seeds(values, seed))
        held += low <= truth <= high
        low, high = compare.interval(values[:, 0])
        held_by_utterances += low <= truth <= high
    assert 178 <= held <= 200
    assert held_by_utterances < 178  # one seed's own interval does not know of the others


def test_false_alarms_are_as_rare_as_p_says():
    """Systems that are alike on average, each with utterances of its own that it finds hard.

    A has one training, as the phone recogniser has. Of 200 tries at 0.05, 10 are expected; if each
    seed were exchanged by itself, as other utterances are, there were 49.
    """
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        first, second = simulated(rng, 1), simulated(rng, 3)
        second[..., 1] = first[..., 1]  # the same words
        second[..., 0] = np.minimum(second[..., 0], second[..., 1])
        alarms += chance(np.repeat(first, 3, 0), second, WER, 200, rng) <= 0.05
    assert alarms <= 20


def test_the_command_writes_report_and_tables(exp, run_main):
    folder, expected = exp
    out = folder / "SEEDS.md"
    hmm = f"HMM:ngram:test:{folder}/hmm/decode_test_ngram"
    words = [
        "--exp",
        folder,
        "--tests",
        "test",
        "--pairs",
        "speech:speech_text",
        "HMM/ngram:speech_text",
    ]
    words += ["--without_seed", hmm, "--resamples", 100, "--output", out]
    words += ["--rates", folder / "rates.tsv", "--differences", folder / "differences.tsv"]
    done = run_main("compare_seeds", *words, "--pictures", folder / "images" / "rates.png")
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "- speech_text ngram" not in text and "- test: speech_text ngram has no seed 10" in text
    assert "![rates](images/rates.png)" in text and "p is about these trainings" in text
    rows = [line for line in text.splitlines() if line.startswith("|speech|greedy|1 2 10|")]
    each = " ".join(f"{expected['speech', '', seed]:.1f}" for seed in (1, 2, 10))
    assert f"|{each}|" in rows[0]
    assert "|HMM ngram|speech_text ngram|1 2|" in text
    pair = [line for line in text.splitlines() if line.startswith("|speech greedy|speech_text ")]
    assert pair[0].endswith("|better|")
    rates = read_rates(folder / "rates.tsv")
    assert {r.name for r in rates} == {
        *((s, d) for s in ("speech", "speech_text") for d in ("greedy", "ngram")),
        ("HMM", "ngram"),
    }
    assert rates[0].by_seed == {None: rates[0].mean}
    table = [line.split("\t") for line in (folder / "differences.tsv").read_text().splitlines()]
    assert {len(row) for row in table} == {11} and [r[6] for r in table[1:5]] == [
        "1",
        "2",
        "10",
        "mean",
    ]


@pytest.mark.parametrize(
    "spoil", [lambda t: t[5:], lambda t: t.rsplit("test\t", 1)[0], lambda t: t + "x\n"]
)
def test_tables_that_are_damaged(exp, run_main, spoil):
    folder, _ = exp
    table = folder / "rates.tsv"
    words = ("--exp", folder, "--tests", "test", "--resamples", 100, "--rates", table)
    run_main("compare_seeds", *words, "--output", folder / "x.md")
    assert read_rates(table)
    table.write_text(spoil(table.read_text()))
    with pytest.raises(ValueError, match=r"rates\.tsv"):
        read_rates(table)
