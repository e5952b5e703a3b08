"""Phoneme units of text: equality with a slow reference, independence of batching, statistics."""

import math
import pickle
import random

import numpy as np
import pytest

from speechlm.data.ctc_lengths import frames_needed
from speechlm.data.lexicon import Lexicon
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, add_positions, phone_id
from speechlm.tokenizers.durations import (
    EDGE,
    DurationTable,
    UnitDurations,
    estimate,
    normal_probabilities,
    quantiles,
    thin,
)
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer
from speechlm.tokenizers.text_batch import TextBatch

M = (1 << 64) - 1
G = 0x9E3779B97F4A7C15


def _mix(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & M
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & M
    return x ^ x >> 31


def _reference(line, index, seed, epoch, lexicon, durations, probability):
    """One line, one phone at a time, in Python's integers."""
    base = 0
    for number in (seed, epoch):
        base = _mix((base + number + G) & M)
    key = _mix(((index + 1) * G + base) & M)
    phones = [EDGE]
    words = line.split()
    for n, word in enumerate(words, 1):
        phones += add_positions(lexicon.entries[word][0]) if word in lexicon else ["SPN_S"]
        draw = _mix(((key ^ 0xD1B54A32D192ED03) + n * G) & M)
        if n < len(words) and draw < int(probability * 2**64):
            phones.append("SIL")
    phones.append(EDGE)
    units = []
    for position, phone in enumerate(phones, 1):
        draw = _mix((key + position * G) & M) >> 50
        times = int(durations.rows[durations.row(phone)][draw])
        units += [phone_id["SIL" if phone == EDGE else phone] + 4] * times
    return [*units, 2]


@pytest.fixture(scope="module")
def lexicon():
    rng = random.Random(1)
    entries = {}
    phones = ["AA1", "AH0", "B", "K", "IY2", "S", "ZH", "T"]
    while len(entries) < 3000:
        word = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", k=rng.randint(1, 9)))
        if word.strip("'"):
            entries[word] = [tuple(rng.choices(phones, k=rng.randint(1, 7))) for _ in range(2)]
    return Lexicon(entries, "random words")


@pytest.fixture(scope="module")
def lines(lexicon):
    rng = random.Random(2)
    words = list(lexicon)
    return [" ".join(rng.choices(words, k=rng.randint(1, 25))) for _ in range(700)]


@pytest.fixture(scope="module")
def aligned():
    """Durations of made-up alignments: B lasts 4 or 6, everything else 9, silences 31."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        names, labels = ["SIL", "B_B", "AA1_E", "SIL", "B_B", "IY2_I", "B_E", "T_S", "SIL"], []
        for name in names:
            times = 31 if name == "SIL" else rng.choice([4, 6]) if name[0] == "B" else 9
            labels += [phone_id[name]] * int(times)
        rows.append(np.array(labels, np.int32))
    return estimate(rows, PHONES, 0.01)


@pytest.mark.parametrize("kind", ["paper", "aligned"])
@pytest.mark.parametrize("probability", [None, 0.0, 1.0])
def test_equals_the_reference(lexicon, lines, aligned, kind, probability):
    symbols = {p for w in lexicon for v in lexicon.entries[w] for p in add_positions(v)}
    durations = UnitDurations.paper()
    if kind == "aligned":
        durations = UnitDurations.from_table(aligned, symbols)
    tokenizer = PhonemeTextTokenizer(lexicon, 17, durations, probability)
    used = durations.silence_probability if probability is None else probability
    chosen = [*lines[:300], "ZZZZZZZZZZZZZZ A'''''''''B", "QQQQQQQQQQQQ"]
    indices = [*range(298), 40_000_000, 2**40, 3, 5]
    batch = tokenizer(chosen, indices, 4)
    assert len(batch) == len(chosen) and not batch.dropped
    characters = CharacterVocabulary()
    for n, (units, letters) in enumerate(batch):
        expected = _reference(chosen[n], indices[n], 17, 4, lexicon, durations, used)
        assert units.tolist() == expected
        assert letters.tolist() == [*characters.encode(chosen[n]), 2]
        assert units.dtype == letters.dtype == np.int64
    assert batch.unknown == {"ZZZZZZZZZZZZZZ": 1, "A'''''''''B": 1, "QQQQQQQQQQQQ": 1}
    np.testing.assert_array_equal(
        tokenizer.unit_counts(chosen, indices, 4), np.diff(batch.unit_offsets)
    )


def test_batching_order_and_process_do_not_matter(lexicon, lines):
    tokenizer = PhonemeTextTokenizer(lexicon, 3)
    whole = dict(enumerate(tokenizer(lines, range(len(lines)), 1)))
    again = pickle.loads(pickle.dumps(tokenizer))
    order = np.random.default_rng(0).permutation(len(lines))
    for part in np.array_split(order, 23):
        batch = again([lines[i] for i in part], part, 1)
        for index, (units, letters) in zip(batch.indices, batch, strict=True):
            np.testing.assert_array_equal(units, whole[index][0])
            np.testing.assert_array_equal(letters, whole[index][1])
    alone = tokenizer([lines[9]], [9], 1)
    np.testing.assert_array_equal(alone.units, whole[9][0])


def test_seed_epoch_and_line_number_matter(lexicon, lines):
    line = max(lines, key=len)
    first = PhonemeTextTokenizer(lexicon, 3)([line], [7], 1).units.tolist()
    assert first == PhonemeTextTokenizer(lexicon, 3)([line], [7], 1).units.tolist()
    for seed, epoch, index in ((4, 1, 7), (3, 2, 7), (3, 1, 8), (1, 3, 7)):
        assert PhonemeTextTokenizer(lexicon, seed)([line], [index], epoch).units.tolist() != first


def _phones(units):
    """Runs of units as (id, length); `</s>` left out."""
    starts = np.flatnonzero(np.diff(units[:-1], prepend=-1))
    return list(zip(units[starts], np.diff(starts, append=len(units) - 1), strict=True))


def test_statistics_of_the_constants():
    """Silences at 25 % of the gaps; durations max(1, round(N(5, 2.5))) and so on."""
    entries = {"AB": [("AA1", "B")], "CDE": [("S", "IY1", "T")]}
    lexicon = Lexicon(entries)
    lines = ["AB CDE AB OOV CDE AB CDE AB CDE AB CDE"] * 4000
    batch = PhonemeTextTokenizer(lexicon, 0)(lines, range(4000), 0)
    lengths = {"SIL": [], "SPN_S": [], "phone": []}
    gaps = 0
    for units, _ in batch:
        runs = _phones(units)
        assert runs[0][0] == runs[-1][0] == phone_id["SIL"] + 4 and units[-1] == 2
        names = [PHONES[unit - 4] for unit, _ in runs]
        gaps += names[1:-1].count("SIL")
        spoken = [name for name in names if name != "SIL"]
        expected = "AA1_B B_E S_B IY1_I T_E AA1_B B_E SPN_S S_B IY1_I T_E" + (
            " AA1_B B_E S_B IY1_I T_E" * 3
        )
        assert spoken == (expected.split())
        for name, (_, length) in zip(names, runs, strict=True):
            lengths[name if name in lengths else "phone"].append(length)
    n = 4000 * 10
    assert abs(gaps / n - 0.25) < 4 * math.sqrt(0.25 * 0.75 / n)
    for kind, mean, std in (("phone", 5, 2.5), ("SIL", 14, 7), ("SPN_S", 32, 11)):
        drawn = np.array(lengths[kind])
        wanted = np.maximum(1, np.round(np.random.default_rng(1).normal(mean, std, len(drawn))))
        assert drawn.min() >= 1
        error = std / math.sqrt(len(drawn))
        assert abs(drawn.mean() - wanted.mean()) < 6 * error
        assert abs(drawn.std() / wanted.std() - 1) < 6 / math.sqrt(len(drawn))
        top = int(max(drawn.max(), wanted.max())) + 1
        ours, theirs = (
            np.cumsum(np.bincount(x.astype(int), minlength=top)) for x in (drawn, wanted)
        )
        assert np.abs(ours - theirs).max() / len(drawn) < 2.2 * math.sqrt(2 / len(drawn))


def test_draws_are_independent():
    """No correlation between neighbours in a line, lines, epochs and seeds."""
    lexicon = Lexicon({"AB": [("AA1", "B")]})

    def draw(seed, epoch):
        tokenizer = PhonemeTextTokenizer(lexicon, seed, silence_probability=0)
        batch = tokenizer(["AB " * 10] * 3000, range(3000), epoch)
        return np.array([[length for _, length in _phones(units)][1:-1] for units, _ in batch])

    a = draw(0, 0)
    for x, y in (
        (a[:, :-1], a[:, 1:]),
        (a[:-1], a[1:]),
        (a, draw(0, 1)),
        (a, draw(1, 0)),
        (draw(0, 1), draw(1, 0)),
    ):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 5 / math.sqrt(x.size)


def test_lines_may_have_epochs_of_their_own(lexicon, lines):
    tokenizer = PhonemeTextTokenizer(lexicon, 5)
    epochs = np.arange(600) % 7
    batch = tokenizer(lines[:600], range(600), epochs)
    for n in range(0, 600, 41):
        alone = tokenizer([lines[n]], [n], int(epochs[n]))
        np.testing.assert_array_equal(batch[n][0], alone.units)
    counts = tokenizer.unit_counts(lines[:600], range(600), epochs)
    np.testing.assert_array_equal(counts, np.diff(batch.unit_offsets))


def test_long_and_empty_lines_are_listed():
    lexicon = Lexicon({"A": [("AH0",)], "LONG": [("AH0",) * 1000], "B" * 1990: [("B",)]})
    tokenizer = PhonemeTextTokenizer(lexicon, 0, silence_probability=0, ctc_outputs=0)
    lines = [
        "A",
        "",
        "LONG LONG",
        "  ",
        "A " * 600,
        "B" * 1990 + " A",
        "LONG",
        " A  A ",
        "B" * 1997,
    ]
    batch = tokenizer(lines, range(10, 19), 0)
    assert batch.indices.tolist() == [10, 15, 17, 18]
    reasons = {d.index: d.reason for d in batch.dropped}
    assert reasons.pop(14).endswith("units") and reasons.pop(16).endswith("units")
    assert reasons == {11: "empty", 12: "2002 phones", 13: "empty"}
    np.testing.assert_array_equal(batch[2][1], [7, 4, 7, 4, 2])
    limit = tokenizer(["B" * 1998, "B" * 1999], [0, 1], 0)
    assert limit.indices.tolist() == [0] and limit.dropped[0].reason == "2000 characters"
    counts = tokenizer.unit_counts(lines, range(10, 19), 0)
    np.testing.assert_array_equal(counts[[1, 2, 3, 4, 6]], 0)
    np.testing.assert_array_equal(counts[[0, 5, 7, 8]], np.diff(batch.unit_offsets))


def _constant(**units: int) -> UnitDurations:
    """Durations without chance: these of the kinds phone, SIL and SPN (1 if not given)."""
    kinds = ("phone", "SIL", "SPN")
    rows = [np.eye(1, 99, units.get(kind, 1))[0] for kind in kinds]
    row_of = {kind: row for row, kind in enumerate(kinds, 1)}
    return UnitDurations(rows, row_of | {EDGE: row_of["SIL"]}, 0.0)


@pytest.mark.parametrize(
    ("text", "durations", "reason"),
    [
        ("B", {}, None),  # 1,999 phones
        ("C", {}, "2000 phones"),
        ("A" * 1998, {}, None),  # 1,999 characters
        ("A" * 1999, {}, "2000 characters"),
        ("A " * 931, {"phone": 3, "SIL": 3}, None),  # 2,799 units
        ("A " * 932, {"phone": 3, "SIL": 2}, "2800 units"),
        ("A", {}, None),
    ],
)
def test_limits_are_strict(text, durations, reason):
    """Fewer than 2,000 phones and letters and 2,800 units, as the released pipeline filters."""
    words = {"A": 1, "B": 1997, "C": 1998, "A" * 1998: 1, "A" * 1999: 1}
    lexicon = Lexicon({word: [("AH0",) * n] for word, n in words.items()})
    tokenizer = PhonemeTextTokenizer(lexicon, 0, _constant(**durations), ctc_outputs=0)
    batch = tokenizer([text], [4], 0)
    assert [line.reason for line in batch.dropped] == [reason] * (reason is not None)
    counts = tokenizer.unit_counts([text], [4], 0)
    assert counts.tolist() == ([0] if reason else [len(batch.units)])


def _long_sentence(phones: int, seed: int = 0, index: int = 0) -> TextBatch:
    """100 words of so many phones each, with silences between all."""
    words = ["A" * n for n in range(1, 16)]
    lexicon = Lexicon({word: [("AH0",) * phones] for word in words})
    line = " ".join(words[n % 15] for n in range(100))
    tokenizer = PhonemeTextTokenizer(lexicon, seed, silence_probability=1)
    return tokenizer(["A", line], [9, index], 3)


def test_sentences_of_4375_units_become_shorter():
    """As in the released pipeline: mean - 1, - 2, ... without chance, until there are fewer."""
    # drawn: 1,700 x 5 + 101 x 14; less 3: 1,700 x 2 + 101 x 11 = 4,511; less 4: 1,700 + 101 x 10
    batch = _long_sentence(17)
    assert not batch.dropped and len(batch[1][0]) - 1 == 1700 + 1010
    lengths = {int(n) for phone, n in _phones(batch[1][0]) if phone == phone_id["SIL"] + 4}
    assert lengths == {10}
    np.testing.assert_array_equal(_long_sentence(17, seed=5, index=7)[1][0], batch[1][0])
    # less 4: 1,800 + 101 x 10 units, which is too long still
    assert [line.reason for line in _long_sentence(18).dropped] == ["2810 units"]
    # less 1: 800 x 4 + 101 x 13 = 4,513; less 2: 800 x 3 + 101 x 12
    assert [line.reason for line in _long_sentence(8).dropped] == ["3612 units"]


@pytest.mark.parametrize("outputs", [1, 2])
def test_lines_that_ctc_cannot_write_are_listed(lexicon, lines, outputs):
    """One unit a phone: whether a line is kept is what counting its letters says."""
    rows = dict.fromkeys(("phone", "SIL", "SPN", EDGE), 1)
    once = UnitDurations([np.array([0.0, 1.0])], rows, 0.25)
    many = [line for line in lines if line.strip()][:600]
    many[5] = "A" * 20  # one unknown word: too few units even with two outputs each
    everything = PhonemeTextTokenizer(lexicon, 3, once, ctc_outputs=0)(many, range(600), 1)
    batch = PhonemeTextTokenizer(lexicon, 3, once, ctc_outputs=outputs)(many, range(600), 1)
    kept, dropped = [], {}
    each = " with 2 outputs each" if outputs == 2 else ""
    for index, (units, characters) in zip(everything.indices, everything, strict=True):
        needed = frames_needed(characters[:-1])
        if outputs * len(units) >= needed:
            kept.append(index)
        else:
            dropped[int(index)] = f"{len(units)} units{each}, its letters need {needed}"
    assert batch.indices.tolist() == kept and 0 < len(dropped) < 600
    assert {line.index: line.reason for line in batch.dropped if line.impossible} == dropped
    ours = {int(n): row for n, row in zip(everything.indices, everything, strict=True)}
    for index, rows in zip(batch.indices, batch, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(rows, ours[int(index)], strict=True))


def test_nothing_but_empty_lines(lexicon):
    tokenizer = PhonemeTextTokenizer(lexicon, 0)
    for lines in ([], ["", " "]):
        batch = tokenizer(lines, range(len(lines)), 0)
        assert len(batch) == 0 and len(batch.dropped) == len(lines)
        assert len(batch.units) == len(batch.characters) == 0


@pytest.mark.parametrize(
    "bad", ["lower", "A\nB", "A-B", "A\tB", "CAF\u00c9", "A|B", "<s> A", "A 1"]
)
def test_bad_characters_name_the_line(lexicon, bad):
    with pytest.raises(ValueError, match="line 8 of the text: characters .* only A-Z"):
        PhonemeTextTokenizer(lexicon, 0)(["A", bad], [0, 7], 0)
    with pytest.raises(ValueError, match="2 lines but"):
        PhonemeTextTokenizer(lexicon, 0)(["A", "B"], [0], 0)


def test_distributions():
    rng = np.random.default_rng(0)
    probabilities = normal_probabilities(5, 2.5)
    drawn = np.maximum(1, np.round(rng.normal(5, 2.5, 400_000))).astype(int)
    measured = np.bincount(drawn, minlength=len(probabilities)) / 400_000
    np.testing.assert_allclose(probabilities, measured[: len(probabilities)], atol=4e-3)
    assert abs(probabilities.sum() - 1) < 1e-12 and probabilities[0] == 0
    assert (
        abs(quantiles(probabilities).mean() - np.arange(len(probabilities)) @ probabilities) < 1e-3
    )
    thinned = thin(np.array([0, 0.1, 0, 0.5, 0.4]), 2)
    np.testing.assert_allclose(thinned, [0, 0.1 + 0.25, 0.25 + 0.4, 0], atol=1e-12)
    np.testing.assert_allclose(thin(probabilities, 1)[: len(probabilities)], probabilities)


def test_thinning_is_that_of_every_second_label():
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, 12, 200_000)
    ends = np.cumsum(lengths)
    kept = ends // 2 - (ends - lengths) // 2  # every second label of one long sequence
    probabilities = thin(np.bincount(lengths) / len(lengths), 2)
    np.testing.assert_allclose(np.bincount(kept) / len(kept), probabilities[:7], atol=5e-3)


def test_estimated_durations(aligned, tmp_path):
    assert aligned.frame_shift == 0.01
    assert aligned.silence_probability == 0.5  # one pause at two inner ends of words
    assert aligned.histograms[EDGE][31] == 120 and aligned.histograms["SIL"][31] == 60
    assert aligned.histograms["B_B"].sum() == 120 and set(
        np.flatnonzero(aligned.histograms["B_B"])
    ) == {4, 6}
    aligned.write(tmp_path / "durations.txt")
    back = DurationTable.read(tmp_path / "durations.txt")
    assert back.silence_probability == aligned.silence_probability
    assert back.histograms.keys() == aligned.histograms.keys()
    for name, counts in aligned.histograms.items():
        np.testing.assert_array_equal(back.histograms[name], counts)
    # never seen: other B's for B_I, all phones for K_B, the paper's constants at 10 ms for noise
    assert set(np.flatnonzero(aligned.probabilities("B_I"))) == {4, 6}
    assert set(np.flatnonzero(aligned.probabilities("K_B"))) == {4, 6, 9}
    noise = aligned.probabilities("SPN_S")
    assert abs(np.arange(len(noise)) @ noise - 64) < 0.1
    with pytest.raises(ValueError, match="cannot be given in units of 0.005"):
        UnitDurations.from_table(aligned, [], 0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# no rows\n", "expected frame_shift"),
        ("frame_shift 0.01\nsilence_probability 0.1\nB_B 5 2 1 2:4\n", ":3: .* add up to 4, not 5"),
        ("frame_shift 0.01\nsilence_probability 0.1\nXY 5 2 1 2:5\n", ":3: .*not a phone"),
        ("frame_shift 0.01\nsilence_probability 0.1\nB_B 5 2 1 0:5\n", ":3: .*frames:runs"),
        ("frame_shift ten\n", ":1: not a row"),
        ("silence_probability 0.1\nB_B 5 2 1 2:5\n", "expected frame_shift"),
    ],
)
def test_bad_duration_files(tmp_path, text, message):
    (tmp_path / "durations.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        DurationTable.read(tmp_path / "durations.txt")


def test_labels_without_words_are_refused():
    with pytest.raises(ValueError, match="too little"):
        estimate([np.array([1, 1, 1])], PHONES, 0.01)


@pytest.fixture
def files(tmp_path, lexicon, lines):
    lexicon.write(tmp_path / "lexicon.txt")
    (tmp_path / "text.txt").write_text("\n".join([*lines, "", "UNHEARDOFWORD"]) + "\n")
    return tmp_path


def test_program_prints_and_reports(run_main, files, lexicon, lines):
    common = ("--text", files / "text.txt", "--lexicon", files / "lexicon.txt", "--seed", 8)
    done = run_main("text_units", *common, "--print", 2, "--report", files / "report.txt")
    assert done.returncode == 0, done.stderr
    expected = PhonemeTextTokenizer(lexicon, 8)(lines[:2], [0, 1], 0)
    printed = done.stdout.splitlines()
    for n, (units, _) in enumerate(expected):
        start = [i for i, row in enumerate(printed) if row.startswith(f"{n} ")][0]
        assert printed[start] == f"{n} {lines[n]}"
        cells = [cell.split("*") for cell in printed[start + 1].split()]
        assert [(name, int(times)) for name, times in cells] == [
            (PHONES[unit - 4], times) for unit, times in _phones(units)
        ]
    report = (files / "report.txt").read_text()
    assert "700 empty" in report and "UNHEARDOFWORD 1" in report
    assert "dropped: 1 " in report and "unknown words: 1 " in report


def test_program_measures(run_main, files):
    import json

    done = run_main(
        "text_units",
        "--text",
        files / "text.txt",
        "--lexicon",
        files / "lexicon.txt",
        "--benchmark",
        2,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["lines"] >= 701 and figures["lines_per_cpu_second"] > 1000
    assert 1 < figures["units_per_line"] < 2800
    bad = run_main("text_units", "--text", files / "text.txt", "--lexicon", files / "nowhere")
    assert bad.returncode == 1 and "nowhere" in bad.stderr and "Traceback" not in bad.stderr
