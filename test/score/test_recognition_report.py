"""The report of several systems and decoders: rows, intervals, tests, warnings."""

import time

import numpy as np
import pytest

from speechlm.data.kaldi_dir import write_table
from speechlm.decode.hypotheses import SearchReport
from speechlm.score.recognition import Decoding, score_decoding
from speechlm.score.recognition_report import Scored, recognition_sections

WORDS = [f"WORD{chr(65 + i)}" for i in range(20)]


def references(n: int, seed: int = 0) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {f"u|{i:04d}": " ".join(rng.choice(WORDS, rng.integers(5, 12))) for i in range(n)}


def scored(folder, system, decoder, write, n=60, test="test", **files):
    """A folder of scores of hypotheses that `write(words, rng)` makes of each reference."""
    name = f"{system}_{decoder}_{test}".replace("|", "")
    expected = references(n)
    rng = np.random.default_rng(len(name) + ord(system[-1]))
    written = {u: " ".join(write(text.split(), rng)) for u, text in expected.items()}
    write_table(folder / name / "ref", expected)
    write_table(folder / name / "hyp", written)
    (folder / name / "score").mkdir()
    decoding = Decoding(folder / name / "ref", folder / name / "hyp", **files)
    score_decoding(decoding, test, folder / name / "score")
    return Scored(system, decoder, test, folder / name / "score")


def replaces(share):
    return lambda words, rng: [w if rng.random() > share else "X" for w in words]


def deletes(share):
    return lambda words, rng: [w for w in words if rng.random() > share]


def says(word):
    return lambda words, rng: [word for _ in words]


def rows_of(text: str) -> dict[str, list[str]]:
    """Rows of a table by system and decoder."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {f"{cells[0]} {cells[1]}": cells for cells in lines}


def test_a_row_for_each_system_and_decoder(tmp_path):
    results = [
        scored(tmp_path, "s", "greedy", replaces(0.4)),
        scored(tmp_path, "s", "ngram", replaces(0.2)),
        scored(tmp_path, "t", "greedy", replaces(0.4)),
        scored(tmp_path, "t", "greedy", replaces(0.4), test="dev"),
    ]
    table, texts = recognition_sections(results, 100, 1)
    assert table.splitlines()[0] == "|system|decoder|test WER|test CER|dev WER|dev CER|"
    assert rows_of(table)["s ngram"][4:] == ["-", "-"]
    assert list(texts)[:4] == [
        "Systems",
        "Decoding of test",
        "Differences on test",
        "Decoding of dev",
    ]
    # A, B of each: decoders of a system, then systems with the same decoder
    pairs = [key for key in rows_of(texts["Differences on test"]) if key[0] in "st"]
    assert pairs == ["s greedy s ngram", "s greedy t greedy"]
    assert "|s/greedy/test|60|" in texts["WER"] and "|t/greedy/dev|60|" in texts["CER"]


def test_intervals_contain_the_rates(tmp_path):
    shares = (0.05, 0.3, 0.9)
    results = [scored(tmp_path, f"s{i}", "", replaces(s)) for i, s in enumerate(shares)]
    _, texts = recognition_sections(results, 500, 1)
    rows = rows_of(texts["Decoding of test"])
    for number in range(len(shares)):
        for cell in (c for row in rows.values() for c in row[1:3] if row[0] == f"s{number}"):
            rate, low, high = (float(word.strip("[],")) for word in cell.split())
            assert low < rate < high
    assert sum(row[0] in ("s0", "s1", "s2") for row in rows.values()) == 3


def test_a_language_model_that_makes_it_worse_is_pointed_out(tmp_path):
    results = [
        scored(tmp_path, "a", "greedy", replaces(0.3)),
        scored(tmp_path, "a", "ngram", replaces(0.6)),
        scored(tmp_path, "a", "transformer", replaces(0.5)),
        scored(tmp_path, "b", "greedy", replaces(0.6)),
        scored(tmp_path, "b", "ngram", replaces(0.2)),
        scored(tmp_path, "b", "transformer", replaces(0.45)),
        scored(tmp_path, "c", "greedy", replaces(0.3)),
        scored(tmp_path, "c", "ngram", replaces(0.3)),
    ]
    notes = recognition_sections(results, 300, 1)[1]["Systems"]
    worse = "**{} on test: the language model makes it worse** with {} than greedy"
    assert worse.format("a", "ngram") in notes and worse.format("a", "transformer") in notes
    assert worse.format("b", "ngram") not in notes and worse.format("b", "transf") not in notes
    assert "**b on test: it is worse** with transformer than ngram" in notes
    assert "c on test: no clear difference between greedy and ngram" in notes


def test_fewer_wrong_words_at_the_price_of_characters_are_pointed_out(tmp_path):
    def lets_half_go(words, rng):
        return [w for w in words if rng.random() < 0.5]

    def misspells(words, rng):
        return [w[:-1] if rng.random() < 0.7 else w for w in words]

    results = [
        scored(tmp_path, "a", "greedy", misspells),
        scored(tmp_path, "a", "ngram", lets_half_go),
    ]
    results += [
        scored(tmp_path, "b", "greedy", lambda words, rng: [w[:-1] for w in words]),
        scored(tmp_path, "b", "ngram", deletes(1.0)),
    ]
    texts = recognition_sections(results, 300, 1)[1]
    notes = texts["Systems"]
    assert "**a on test: fewer wrong words, but more wrong characters** with ngram" in notes
    assert "**b on test: no fewer wrong words, but more wrong characters** with ngram" in notes
    rows = [line for line in texts["Differences on test"].splitlines() if "|a greedy|a n" in line]
    assert len(rows) == 1 and rows[0].endswith("|better; CER: worse|")


def test_systems_that_write_nothing_or_always_the_same_are_pointed_out(tmp_path):
    results = [
        scored(tmp_path, "a", "greedy", deletes(0.8)),
        scored(tmp_path, "b", "greedy", says("WORDC")),
        scored(tmp_path, "c", "greedy", deletes(0.3)),
        scored(tmp_path, "d", "greedy", deletes(1.0)),
    ]
    notes = recognition_sections(results, 100, 1)[1]["Systems"]
    assert "**a greedy on test** writes almost nothing: " in notes
    assert "**b greedy on test** writes the same everywhere: 100 % of its words are WORDC" in notes
    assert "**d greedy on test** writes almost nothing: 100 % of the words" in notes
    assert "**c" not in notes and "**d greedy on test** writes the same" not in notes


def test_figures_of_the_decoding_are_in_the_row(tmp_path):
    expected = references(60)
    lines = [f"{u}\t1\t0\t0\t0\t\t1\t{text}\n" for u, text in expected.items()]
    header = "id\trank\ttotal\tacoustic\tngram\tneural\twords\ttext\n"
    (tmp_path / "nbest").write_text(header + "".join(lines))
    weights = {"lm_weight": 2.5, "word_score": -2.17, "blank_score": 2}
    report = SearchReport("graph", "ngram", weights, utterances=60, unfinished=["u|0001"])
    report.audio_seconds, report.search_seconds = 100.0, 0.123
    report.write(tmp_path)
    (tmp_path / "lexicon").write_text("".join(f"{word} x\n" for word in WORDS[:10]))
    files = {"nbest": tmp_path / "nbest", "search": tmp_path / "search.json"}
    results = [
        scored(tmp_path, "a", "greedy", replaces(0.2)),
        scored(tmp_path, "a", "ngram", replaces(0.2), lexicon=tmp_path / "lexicon", **files),
    ]
    _, texts = recognition_sections(results, 100, 1)
    rows = rows_of(texts["Decoding of test"])
    head = rows["system decoder"]
    assert head[7:] == ["OOV", "oracle", "RTF", "unfinished", "weights"]
    assert rows["a greedy"][7:] == ["-"] * 5
    oov = 100 * sum(w in WORDS[10:] for t in expected.values() for w in t.split())
    oov /= sum(len(t.split()) for t in expected.values())
    assert rows["a ngram"][7:] == [
        f"{oov:.1f}",
        "0.0",
        "0.0012",
        "1",
        "lm 2.5, word -2.17, blank 2",
    ]
    assert f"**test: {oov:.1f} % of the words are not in the lexicon**" in texts["Systems"]


def test_names_with_markup_stay_names(tmp_path):
    results = [scored(tmp_path, "a|b", "*x*", replaces(0.2), test="_t_")]
    table, texts = recognition_sections(results, 100, 1)
    assert table.splitlines()[2].startswith("|a\\|b|\\*x\\*|")
    assert "Decoding of \\_t\\_" in texts and "|a\\|b/\\*x\\*/\\_t\\_|" in texts["WER"]


def test_results_of_other_utterances_are_refused(tmp_path):
    results = [
        scored(tmp_path, "a", "", replaces(0.2), n=60),
        scored(tmp_path, "b", "", replaces(0.2), n=50),
    ]
    with pytest.raises(ValueError, match="only .*a__test/score has 10: u|0050"):
        recognition_sections(results, 100, 1)


def test_seeds_make_it_repeatable_and_nine_rows_are_quick(tmp_path):
    results = [
        scored(tmp_path, system, decoder, replaces(share), n=200)
        for system, share in (("a", 0.5), ("b", 0.4), ("c", 0.3))
        for decoder in ("greedy", "ngram", "transformer")
    ]
    start = time.process_time()
    first = recognition_sections(results, 1000, 1)
    assert time.process_time() - start < 20
    assert recognition_sections(results, 1000, 1) == first
    assert recognition_sections(results, 1000, 2) != first


def test_the_form_of_scores(run_main, tmp_path):
    results = [scored(tmp_path, "a", "greedy", replaces(0.2))]
    folder = results[0].folder
    (tmp_path / "c:d").symlink_to(folder)
    words = ["--title", "T", "--command", "x", "--seed", 1, "--resamples", 100, "--output", "R.md"]

    def report(*scores):
        return run_main("report", *words, "--scores", *scores, cwd=tmp_path)

    done = report(f"a:greedy:test:{folder}", f"b:test:{folder}", "e:test:c:d", "f:ngram:test:c:d")
    assert done.returncode == 0, done.stderr
    found = list(rows_of(done.stdout))[2:]
    assert found == ["a greedy", "b -", "e -", "f ngram"]
    for wrong in ("a:test", "a::test:x", "a:greedy:test:nowhere"):
        done = report(wrong)
        assert done.returncode == 1 and "SYSTEM" in done.stderr and wrong in done.stderr
    done = report(*2 * [f"a:greedy:test:{folder}"])
    assert "one result of a system on a test set expected, more of a greedy:test" in done.stderr


def test_the_baseline_is_compared_with_the_best_of_each_system(tmp_path):
    results = [
        scored(tmp_path, "s", "greedy", replaces(0.9)),
        scored(tmp_path, "s", "ngram", replaces(0.5)),
        scored(tmp_path, "s", "transformer", replaces(0.4)),
        scored(tmp_path, "HMM", "ngram", replaces(0.2)),
        scored(tmp_path, "s", "phones", replaces(0.05)),
        scored(tmp_path, "t", "greedy", replaces(0.9)),
    ]
    texts = recognition_sections(results, 300, 1, baseline="HMM")[1]
    compared = [
        line.split("|")[1:3] for line in texts["Differences on test"].splitlines() if "HMM" in line
    ]
    assert ["HMM ngram", "s transformer"] in compared and ["HMM ngram", "s phones"] in compared
    assert not [pair for pair in compared if "greedy" in "".join(pair)]
    shown = texts["Systems"]
    assert "- **s transformer on test: worse**, compared with HMM ngram" in shown
    assert "**s phones" not in shown and "- phones: the pre-trained model" in shown
    assert "- HMM: the phone recogniser" in shown
    assert "- HMM" not in recognition_sections(results[:2], 100, 1, baseline="HMM")[1]["Systems"]
