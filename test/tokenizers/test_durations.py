"""Durations counted in unit archives, by function and by program."""

import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.lexicon import Lexicon
from speechlm.data.vocabulary import PHONES, phone_id
from speechlm.tokenizers.durations import EDGE, DurationTable, UnitDurations, estimate_from_archives
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.text_report import make_tokenizer


def _archive(folder, rows, symbols=PHONES, frame_shift=0.01):
    with ArchiveWriter(folder, "units", 1) as writer:
        for n, row in enumerate(rows):
            writer.write(f"utt-{n:03d}", np.array(row, np.int32))
    merge_archives(folder, 1)
    write_unit_info(folder, frame_shift, symbols)
    return folder


def _speech(seed, n=200):
    """Labels of CAT said many times, phones of 6 +- 1 labels, pauses of 20 after 40 % of words."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        names = ["SIL"]
        for word in range(10):
            names += ["K_B", "AE1_I", "T_E"] + ["SIL"] * (word < 9 and rng.random() < 0.4)
        names.append("SIL")
        times = [20 if name == "SIL" else int(rng.integers(5, 8)) for name in names]
        rows.append(np.repeat([phone_id[name] for name in names], times))
    return rows


def test_text_gets_the_length_of_speech(tmp_path):
    rows = _speech(0)
    table = estimate_from_archives([_archive(tmp_path / "units", rows)])
    assert abs(table.silence_probability - 0.4) < 0.04
    assert table.histograms[EDGE].sum() == 400 and table.histograms["K_B"].sum() == 2000
    assert "6000 phones of 0.060 s" in table.summary()
    tokenizer = make_tokenizer(Lexicon({"CAT": [("K", "AE1", "T")]}), 1, table)
    counts = tokenizer.unit_counts(["CAT " * 10] * 200, range(200), 0) - 1
    frames = np.array([(len(row) + 1) // 2 for row in rows])
    assert abs(counts.mean() / frames.mean() - 1) < 0.02
    assert abs(counts.std() / frames.std() - 1) < 0.2


def test_several_folders_and_the_program(run_main, tmp_path):
    folders = [_archive(tmp_path / f"units{n}", _speech(n, 30)) for n in range(2)]
    both = estimate_from_archives(folders)
    assert both.histograms["T_E"].sum() == 600
    words = ("--units", *folders, "--output", tmp_path / "durations.txt")
    done = run_main("estimate_durations", *words)
    assert "1800 phones" in done.stderr
    read = DurationTable.read(tmp_path / "durations.txt")
    for name, counts in both.histograms.items():
        np.testing.assert_array_equal(read.histograms[name], counts)


def test_folders_that_do_not_fit_together(tmp_path):
    first = _archive(tmp_path / "a", _speech(0, 3))
    slower = _archive(tmp_path / "b", _speech(1, 3), frame_shift=0.02)
    with pytest.raises(ValueError, match="0.01 s apart, those of .*b 0.02 s"):
        estimate_from_archives([first, slower])
    other = _archive(tmp_path / "c", _speech(1, 3), symbols=[*PHONES[:-1], "#99"])
    with pytest.raises(ValueError, match="a/tokens.txt.*c/tokens.txt"):
        estimate_from_archives([first, other])


def test_symbols_must_be_known_beforehand(tmp_path):
    table = estimate_from_archives([_archive(tmp_path / "units", _speech(0, 10))])
    durations = UnitDurations.from_table(table, ["K_B", "AE1_I", "T_E"])
    with pytest.raises(ValueError, match="no durations for D_S"):
        PhonemeTextTokenizer(Lexicon({"D": [("D",)]}), 0, durations)


def test_the_papers_constants_last_as_long_in_longer_frames():
    paper, coarse = UnitDurations.paper(), UnitDurations.paper(0.04)
    for symbol in ("AE1_I", "SIL", "SPN_S"):
        mean = coarse.means[coarse.row(symbol)]
        assert abs(2 * mean - paper.means[paper.row(symbol)]) < 0.2, symbol
