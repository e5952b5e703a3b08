"""Windows of long recordings: nothing is lost or doubled where they meet."""

import itertools

import numpy as np
import pytest

from speechlm.conventions import PAPER_FRAMING
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_greedy import greedy
from speechlm.decode.long_audio import (
    CutOptions,
    WindowOptions,
    cut_at_pauses,
    plan_windows,
    stitch,
)
from speechlm.decode.word_times import greedy_words

V = CharacterVocabulary
OPTIONS = WindowOptions(longest=6.0, usual=3.0)
RATE = 16000


def emissions(best, sure=0.9):
    """(T, V) log-probabilities with the given best characters."""
    rows = np.full((len(best), V.n_ids), (1 - sure) / (V.n_ids - 1), np.float32)
    rows[np.arange(len(best)), best] = sure
    return np.log(rows)


def spoken(sentence, rng):
    """Frames of a sentence as CTC models write: letters of one or two frames, blanks between."""
    best = []
    for character in V().encode(sentence).tolist():
        best += [character] * rng.integers(1, 3) + [V.blank] * rng.integers(1, 5)
        if character == V.word_end:
            best += [V.blank] * rng.integers(3, 20)
    return np.array(best)


def words(n, rng):
    letters = list("ETAONIHSRDL")
    return " ".join("".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(n))


@pytest.mark.parametrize("seed", range(20))
def test_overlapping_windows_give_the_words_of_the_whole(seed):
    """Windows begin and end within words; each sees the letters up to two frames off."""
    rng = np.random.default_rng(seed)
    sentence = words(60, rng)
    best = np.pad(spoken(sentence, rng), 5, constant_values=V.blank)
    step, overlap = 150, int(rng.integers(40, 110))
    windows = []
    for first in range(0, len(best), step):
        shift = int(rng.integers(-2, 3)) if first else 0
        part = np.roll(best, shift)[first : first + step + overlap]
        windows.append((first, emissions(part)))
    parts = list(stitch(windows))
    assert sum(map(len, parts)) == len(best)
    assert greedy(np.concatenate(parts)) == sentence


@pytest.mark.parametrize("seed", range(10))
def test_segments_have_the_words_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    sentence = words(80, rng)
    whole = emissions(spoken(sentence, rng))
    parts = [whole[n : n + 70] for n in range(0, len(whole), 70)]
    found = list(cut_at_pauses(parts, CutOptions(pause=15, max_frames=200)))
    assert len(found) > 5 and max(map(len, found)) < 230
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert " ".join(w.word for part in found for w in greedy_words(part)) == sentence


def test_a_stream_without_a_gap_is_cut_all_the_same():
    whole = emissions(np.tile([6, 7], 1000))
    found = list(cut_at_pauses([whole], CutOptions(pause=15, max_frames=200)))
    assert sum(map(len, found)) == 2000 and max(map(len, found)) <= 215


def bursts(spans, seconds, noise=1e-4):
    rng = np.random.default_rng(0)
    wave = noise * rng.standard_normal(int(seconds * RATE))
    for start, end, loudness in spans:
        a, b = int(start * RATE), int(end * RATE)
        wave[a:b] += loudness * rng.standard_normal(b - a)
    return wave.astype(np.float32)


def blocks(wave, size):
    return [wave[n : n + size] for n in range(0, len(wave), size)]


def seen(windows, n):
    """(S,) how many windows show each sample, after checks that windows are the recording's."""
    count = np.zeros(n, int)
    for window in windows:
        count[window.first * 320 : window.first * 320 + len(window.waveform)] += 1
    return count


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_windows_show_all_that_is_loud_and_end_in_pauses(noise):
    spans, at, rng = [], 0.5, np.random.default_rng(1)
    while at < 300:
        length = rng.uniform(0.1, 9)
        spans.append((at, at + length, 0.3 if len(spans) % 2 else 0.03))
        at += length + rng.choice([0.1, 0.4, 0.8, 1.5, 20])
    wave = bursts(spans, at, noise)
    windows = list(plan_windows(blocks(wave, 160000), PAPER_FRAMING, OPTIONS))
    for window in windows:
        start = window.first * 320
        np.testing.assert_array_equal(wave[start : start + len(window.waveform)], window.waveform)
    assert max(len(w.waveform) for w in windows) <= (6 + 2 * 0.75) * RATE + 320
    count = seen(windows, len(wave))
    for start, end, _ in spans:
        assert count[int(start * RATE) : int(end * RATE) - 400].all()
    assert (count == 0).mean() > 0.2  # of the pauses of 20 s most is not shown


def test_the_plan_does_not_depend_on_how_the_recording_is_read():
    wave = bursts([(n, n + 0.8, 0.1 + 0.02 * (n % 9)) for n in range(200)], 201)
    plans = []
    for size in (1000, 160000, len(wave)):
        windows = plan_windows(blocks(wave, size), PAPER_FRAMING, OPTIONS)
        plans.append([(w.first, len(w.waveform)) for w in windows])
    assert plans[0] == plans[1] == plans[2] and len(plans[0]) > 50


def test_memory_holds_a_few_windows_only():
    taken = itertools.count()

    def endless():
        while True:
            next(taken)
            yield bursts([(0, 7, 0.2), (8, 9, 0.1)], 10)

    windows = plan_windows(endless(), PAPER_FRAMING, OPTIONS)
    last = list(itertools.islice(windows, 500))[-1]
    assert next(taken) * 10 < last.first * 0.02 + 90


def test_a_short_recording_is_one_window():
    wave = bursts([(1, 2, 0.1)], 6)
    (window,) = plan_windows(blocks(wave, 7000), PAPER_FRAMING, OPTIONS)
    assert window.first == 0
    np.testing.assert_array_equal(window.waveform, wave)
    assert not list(plan_windows([wave[:399]], PAPER_FRAMING, OPTIONS))
