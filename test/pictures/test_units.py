"""The map of units and phones, and durations of units in speech and text."""

import re

import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import ChunkReport, UnitStore
from speechlm.data.vocabulary import PHONES, UnitVocabulary
from speechlm.pictures.durations import Runs, draw_durations, runs_of
from speechlm.pictures.look import read_about
from speechlm.pictures.samples import SomeArrays
from speechlm.pictures.units import sorted_shares
from speechlm.score.unit_quality import UnitCounts


def write(folder, rows, shift, symbols):
    """Unit archives."""
    with ArchiveWriter(folder) as writer:
        for utterance, labels in rows.items():
            writer.write(utterance, np.array(labels))
    merge_archives(folder, 1)
    write_unit_info(folder, shift, symbols)


def test_the_map_is_sorted():
    counts = UnitCounts(["A", "B", "C"], np.array([[0, 9, 1, 0], [5, 1, 0, 0], [0, 0, 3, 0]]), 1)
    phones, clusters, shares = sorted_shares(counts)
    assert phones == ["A", "B", "C"]
    assert clusters.tolist() == [1, 0, 2]
    np.testing.assert_allclose(shares, [[0.9, 0, 0.25], [0.1, 1, 0], [0, 0, 0.75]])


def test_the_command_draws_utterances_that_are_aligned(drawn, run_main, tmp_path):
    write(tmp_path / "align", {"a": [0, 0, 1, 1], "b": [1] * 4}, 0.01, ["SIL", "S_B"])
    units = {"a": [0, 3], "b": [3, 3], "c": [1, 1]}
    write(tmp_path / "units", units, 0.02, list("0123"))
    words = ("--units", tmp_path / "units", "--alignments", tmp_path / "align", "--name", "km")
    done = run_main("plot_units", *words, "--output", tmp_path / "u.png")
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    table = drawn[0].axes[0].images[0].get_array()
    np.testing.assert_allclose(table, [[1, 0], [0, 1]])
    assert [t.get_text() for t in drawn[0].axes[0].get_yticklabels()] == ["S", "SIL"]
    about = read_about(tmp_path / "u.png")
    assert about.title == "Phones of km" and "the 2 units that 2 utterances have" in about.caption
    write(tmp_path / "align", {"x": [0]}, 0.01, ["SIL"])
    done = run_main("plot_units", *words, "--output", tmp_path / "no.png")
    assert done.returncode == 1 and "has none of the utterances that are wanted" in done.stderr


def test_some_utterances_are_far_from_each_other(tmp_path):
    write(tmp_path, {f"u{n}": [n] for n in range(9)}, 0.02, list(map(str, range(9))))
    assert list(SomeArrays(tmp_path, 3)) == ["u0", "u3", "u6"]
    assert list(SomeArrays(tmp_path, 2, {"u1", "u4", "u5", "x"})) == ["u1", "u4"]
    assert [int(row[0]) for row in SomeArrays(tmp_path, 99).values()] == list(range(9))
    with pytest.raises(ValueError, match="is not there"):
        SomeArrays(tmp_path / "x", 1)


def test_runs_of_units():
    found = runs_of(
        [np.array([0, 0, 1, 1, 1]), np.array([], int), np.array([2])], ["SIL", "AH0_B", "7"], 0.02
    )
    assert found.names.tolist() == ["SIL", "AH", "7"]
    assert found.seconds == pytest.approx([0.04, 0.06, 0.02])
    assert found.without_silence().names.tolist() == ["AH", "7"]
    with pytest.raises(ValueError, match=r"labels 0\.\.0 expected, found 1"):
        runs_of([np.array([1])], ["0"], 0.02)
    with pytest.raises(ValueError, match="there are none"):
        runs_of([np.array([], int)], ["0"], 0.02)


def phones(seconds, **more):
    """Runs: ten of each phone."""
    known = {"AH": seconds, "S": 2 * seconds, "SIL": 10 * seconds, **more}
    names = [name for name in known for _ in range(10)]
    return Runs(np.array(names), np.array([known[name] for name in names]))


def test_durations_are_compared_without_silence(drawn, tmp_path):
    text = phones(0.06)
    rare = Runs(np.append(text.names, "ZH"), np.append(text.seconds, 0.2))
    draw_durations(phones(0.04), rare, 0.02, tmp_path / "d.png", "phones")
    caption = read_about(tmp_path / "d.png").caption
    ratio = (10 * 0.06 + 10 * 0.12 + 0.2) / 21 / 0.06
    assert f"{ratio:.2f} times as long" in caption and "too rare: ZH" in caption
    above, below = drawn[0].axes
    assert [t.get_text() for t in below.get_xticklabels()] == ["AH", "S", "SIL"]
    speech, made = below.get_lines()
    assert speech.get_ydata() == pytest.approx([40, 80, 400])
    assert made.get_ydata() == pytest.approx([60, 120, 600])
    shares = [patch.get_data() for patch in above.patches]
    assert all(share.values.sum() <= 100.001 for share in shares)
    assert shares[0].values[shares[0].edges[:-1].round() == 30] == pytest.approx([50])


def test_the_command_makes_phones_as_pre_training_does(drawn, run_main, model_folder, tmp_path):
    label = {symbol: n for n, symbol in enumerate(PHONES)}
    spoken = [label["SIL"]] * 5 + [label["AH0_B"]] * 8 + [label["S_E"]] * 12 + [label["SIL"]] * 5
    write(tmp_path / "units", {f"u{n}": spoken for n in range(6)}, 0.01, PHONES)
    (tmp_path / "text").write_text("US US US\n" * 50)
    (tmp_path / "lexicon").write_text("US AH0 S\n")
    words = ["--units", tmp_path / "units", "--text", tmp_path / "text", "--model", model_folder()]
    words += ["--lexicon", tmp_path / "lexicon", "--output", tmp_path / "d.png"]
    done = run_main("plot_durations", *words)
    assert done.returncode == 0, done.stderr
    below = drawn[0].axes[1]
    assert [t.get_text() for t in below.get_xticklabels()] == ["SIL", "AH", "S"]
    speech, text = below.get_lines()
    assert speech.get_ydata() == pytest.approx([50, 80, 120])
    # The paper's constants: 5 units of 20 ms a phone, 14 a silence
    assert text.get_ydata() == pytest.approx([280, 100, 100], rel=0.1)
    ratio = float(re.search(r"last ([\d.]+) times", read_about(tmp_path / "d.png").caption)[1])
    assert ratio == pytest.approx(1, abs=0.1)
    done = run_main("plot_durations", *words[:4], *words[-2:])
    assert done.returncode == 1 and "--text_units expected, or --text, --lexicon" in done.stderr


def test_stored_units_and_their_frequencies(drawn, run_main, tmp_path):
    (tmp_path / "text").write_text("A\nB\nC\n")
    corpus, units = TextCorpus(tmp_path / "text"), UnitVocabulary("0123")
    store = UnitStore.create(tmp_path / "store", corpus, units, 0.02, 3, {})
    rows = [np.array(row) for row in ([1, 1, 2], [2, 2, 2], [])]
    store.write(0, ["A", "B", "C"], rows, ChunkReport({2: "empty"}))
    write(tmp_path / "units", {"a": [1, 1, 1, 0], "b": [1, 3, 3, 0]}, 0.02, list("0123"))
    words = ("--units", tmp_path / "units", "--text_units", tmp_path / "store", "--name", "km")
    done = run_main("plot_durations", *words, "--output", tmp_path / "d.png")
    assert done.returncode == 0, done.stderr
    speech, text = drawn[0].axes[1].get_lines()
    assert speech.get_ydata() == pytest.approx([50, 25, 25, 0])  # units 1, 0 and 3, 2
    assert sorted(text.get_ydata()) == pytest.approx([0, 0, 100 / 3, 200 / 3])
    assert "1.25 times as long" in read_about(tmp_path / "d.png").caption  # 2 units against 8 / 5


@pytest.mark.parametrize(
    ("speech", "text", "message"),
    [
        (["a"] * 4, ["a"] * 9, "phones expected that come 5 times or more"),
        (["a"] * 9, ["b"] * 9, "phones expected that come 5 times or more"),
        (["SIL"] * 9, ["a"] * 9, "units of speech expected, but all of them are silence"),
        (["a"] * 9, ["SIL"] * 9, "units of text expected, but all of them are silence"),
    ],
)
def test_too_little_for_a_picture_of_durations_is_said(tmp_path, speech, text, message):
    runs = [Runs(np.array(names), np.full(len(names), 0.05)) for names in (speech, text)]
    with pytest.raises(ValueError, match=f"phones: {message}"):
        draw_durations(*runs, 0.01, tmp_path / "a.png", "phones")
    assert not list(tmp_path.iterdir())
