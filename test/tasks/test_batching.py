"""Batches of speech and of text: who gets what, when, and how much of it."""

from pathlib import Path

import numpy as np
import pytest

from speechlm.tasks.batching import SpeechBatches, TextBatches, padded_batches

LENGTHS = np.random.default_rng(0).integers(20000, 250000, 301)
LIMIT = 4375


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_every_utterance_once_a_pass_at_one_worker(workers):
    batches = SpeechBatches(LENGTHS, 1_400_000, 5, workers, shuffle=True)
    for number in (0, 3):
        shares = [batches.worker_pass(number, rank) for rank in range(workers)]
        assert [len(share) for share in shares] == [len(batches)] * workers
        seen = np.concatenate([batch for share in shares for batch in share])
        assert sorted(seen) == list(range(len(LENGTHS)))
        assert all(len(b) * LENGTHS[b].max() <= 1_400_000 for share in shares for b in share)
        spread = [LENGTHS[b].min() / LENGTHS[b].max() for share in shares for b in share]
        assert np.mean(spread) > 0.85  # batches hold utterances of about equal length


def loss(lengths: np.ndarray, batches: SpeechBatches, pad: bool) -> float:
    """Share of a pass's samples that is padding, or cropped off."""
    cuts = [lengths[batch] for batch in batches.worker_pass(0, 0)]
    if pad:
        return 1 - lengths.sum() / sum(len(cut) * cut.max() for cut in cuts)
    return 1 - sum(len(cut) * cut.min() for cut in cuts) / lengths.sum()


def librispeech(n: int) -> np.ndarray:
    """Samples of utterances that are spread as LibriSpeech's 960 h are, cropped as for training."""
    shares = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1]
    seconds = [1.4, 2.2, 3.6, 5.3, 11.2, 13.9, 15.2, 15.9, 16.2, 16.7, 24.5]
    drawn = np.interp(np.random.default_rng(n).random(n), shares, seconds)
    samples = (16000 * drawn).astype(int)
    return np.minimum(samples[samples >= 32_000], 250_000)


def short(n: int) -> np.ndarray:
    """Samples of short sentences, 0.5 to 9 s, 3 s on average."""
    seconds = np.random.default_rng(n).gamma(4.0, 0.75, n).clip(0.5, 9)
    return (16000 * seconds).astype(int)


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize(
    ("lengths", "limit", "at_once"),
    [
        (librispeech(50_000), 1_400_000, 1),
        (librispeech(50_000), 1_400_000, 4),
        (librispeech(50_000), 900_000, 16),
        (librispeech(600), 1_400_000, 1),
        (short(1800), 320_000, 1),
        (short(5000), 1_400_000, 1),
        (short(50_000), 1_400_000, 4),
    ],
)
def test_at_most_two_per_cent_are_padding_or_cropped_off(lengths, limit, at_once, pad):
    batches = SpeechBatches(lengths, limit, 3, 1, True, at_once)
    found = loss(lengths, batches, pad)
    assert found <= 0.02
    assert batches.loss == pytest.approx(found, abs=0.005)


def test_batches_put_together_are_as_many_updates_of_as_much():
    """Four batches of 8 workers at once see in an update what one of 32 workers sees."""
    lengths = librispeech(50_000)
    apart = SpeechBatches(lengths, 1_400_000, 3, 32, True)
    together = SpeechBatches(lengths, 1_400_000, 3, 8, True, at_once=4)
    assert len(together) == pytest.approx(len(apart), rel=0.01)
    larger = SpeechBatches(lengths, 5_600_000, 3, 8, True)
    assert len(larger) < 0.95 * len(apart)  # which is what a larger limit would have come to
    for rank in (0, 7):
        for batch in together.worker_pass(2, rank):
            assert len(batch) <= 4 * (1_400_000 // lengths[batch].max())


def test_batches_of_few_utterances_say_that_they_are_unequal():
    lengths = librispeech(100)
    batches = SpeechBatches(lengths, 1_400_000, 3, 1, True, at_once=4)
    found = loss(lengths, batches, True)
    assert found > 0.03 and batches.loss == pytest.approx(found, abs=0.02)


def test_equals_meet_others_in_every_pass():
    """Steps are wide enough that a batch is not the same utterances again and again."""
    lengths = librispeech(20_000)
    batches = SpeechBatches(lengths, 1_400_000, 3, 1, True)
    partners: list[set[int]] = []
    for number in range(4):
        found = batches.worker_pass(number, 0)
        partners.append(next(set(batch.tolist()) for batch in found if 777 in batch) - {777})
    assert all(partners) and not set.intersection(*partners)
    assert len(set.union(*partners)) >= 0.8 * sum(map(len, partners))


def test_passes_differ_and_can_be_made_again():
    def first(number, seed=5):
        return SpeechBatches(LENGTHS, 1_400_000, seed, 2, True).worker_pass(number, 1)[0].tolist()

    assert first(1) == first(1)
    assert len({tuple(first(n)) for n in range(5)}) == 5
    assert first(1) != first(1, seed=6)


@pytest.mark.parametrize(("n", "workers"), [(1, 1), (3, 1), (3, 3), (4, 3), (5, 5), (9, 4)])
def test_speech_smaller_than_a_batch(n, workers):
    """Every worker gets a batch, and no utterance is lost or given twice."""
    batches = SpeechBatches(LENGTHS[:n], 10**9, 5, workers, shuffle=True)
    shares = [batches.worker_pass(1, rank) for rank in range(workers)]
    assert [len(share) for share in shares] == [1] * workers
    assert sorted(np.concatenate([b for share in shares for b in share])) == list(range(n))


def test_limits_of_speech_batches_are_explained():
    with pytest.raises(ValueError, match="300000 samples does not fit into batches of 200000"):
        SpeechBatches([300000, 10], 200000, 0, 1, True)
    with pytest.raises(ValueError, match="2 utterances in 1 batches cannot be .* by 3 workers"):
        SpeechBatches([30, 10], 200000, 0, 3, True)
    with pytest.raises(ValueError, match="5 utterances in 4 batches cannot be .* by 3 workers"):
        SpeechBatches([20000, 20000, 90000, 90000, 90000], 100000, 0, 3, True)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_padded_batches_keep_the_limit(seed, workers):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, random.integers(2, 400), random.integers(20, 500))
    limit = int(lengths.max() * random.uniform(1, 9))
    shares = padded_batches(lengths, limit, workers)
    assert len({len(share) for share in shares}) == 1
    assert sorted(np.concatenate([b for share in shares for b in share])) == list(
        range(len(lengths))
    )
    assert all(0 < len(b) * lengths[b].max() <= limit for share in shares for b in share)


def test_text_put_together_is_as_much_and_within_the_limit():
    text = Text(9000, bad=0)
    apart, together = (TextBatches(text, LIMIT, 1, at_once=n) for n in (1, 4))
    assert together.block_batches == pytest.approx(apart.block_batches / 4, rel=0.04)
    for step in range(together.block_batches):
        lines = together[step]
        units = text.unit_counts(lines.numbers, lines.passes)
        assert lines.used.all() and len(units) <= 4 * (LIMIT // units.max())


class Text:
    """Lines of drawn numbers of units, some of none and some of too many."""

    path = Path("text.txt")

    def __init__(self, n: int, shortest: int = 40, longest: int = 1000, bad: float = 0.1) -> None:
        random = np.random.default_rng(n)
        self.means = random.integers(shortest, longest, n)
        kinds = random.random(n)
        self.means[kinds < bad] = 0
        self.means[kinds > 1 - bad / 2] = 5000
        self.counted = 0

    def __len__(self) -> int:
        return len(self.means)

    def unit_counts(self, lines: np.ndarray, passes: np.ndarray) -> np.ndarray:
        self.counted += len(lines)
        change = 1 + 0.01 * ((lines * 31 + passes * 17) % 11 - 5)
        return np.rint(self.means[lines] * change).astype(np.int64)


def check(text: Text, workers: int, steps: int, limit: int = LIMIT) -> dict[str, float]:
    """Make all batches; each line of the stream must be in one of them, each within the limit."""
    seen, empty, units, padded = [], 0, 0, 0
    for rank in range(workers):
        batches = TextBatches(text, limit, 1, rank, workers)
        for step in range(steps * batches.block_batches):
            lines = batches[step]
            counts = text.unit_counts(lines.numbers, lines.passes)
            used = counts[lines.used]
            assert len(used) * used.max(initial=0) <= limit and (used > 0).all()
            unused = counts[~lines.used]
            assert ((unused == 0) | (unused > limit)).all()
            seen += zip(lines.passes.tolist(), lines.numbers.tolist(), strict=True)
            empty += not len(used)
            units, padded = units + used.sum(), padded + len(used) * used.max(initial=0)
    assert len(seen) == len(set(seen)) == workers * steps * batches.block_lines
    whole, rest = divmod(len(seen), len(text))
    for number in range(whole):
        assert sum(turn == number for turn, _ in seen) == len(text)
    assert sum(turn == whole for turn, _ in seen) == rest
    n_batches = workers * steps * batches.block_batches
    return {"empty": empty, "padding": 1 - units / padded, "full": padded / n_batches / limit}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_line_once_a_pass_at_one_worker_within_the_limit(workers):
    figures = check(Text(6000), workers, steps=3)
    assert figures["empty"] == 0 and figures["padding"] < 0.01 and figures["full"] > 0.8


def test_every_block_of_a_large_text_has_room():
    """Blocks of other lines than those that their number of batches was planned with."""
    figures = check(Text(130_000), 2, steps=8)
    assert figures["empty"] == 0 and figures["full"] > 0.8


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_texts_smaller_than_a_block(n, workers):
    figures = check(Text(n, bad=0), workers, steps=2)
    assert figures["empty"] == 0 and figures["padding"] < 0.02 and figures["full"] > 0.6


@pytest.mark.parametrize("batches", [1, 7, 150, 4000])
def test_validation_has_the_lines_that_fit(batches):
    """A given number of batches: as many lines as these hold, a pass at most, none without text."""
    text = Text(900, bad=0)
    dealt = TextBatches(text, LIMIT, 1, batches=batches)
    parts = [dealt[step] for step in range(batches)]
    counts = [text.unit_counts(lines.numbers, lines.passes) for lines in parts]
    assert all(lines.used.all() and len(lines.used) for lines in parts)
    padded = [len(units) * units.max() for units in counts]
    assert max(padded) <= LIMIT
    seen = np.concatenate([lines.numbers for lines in parts])
    assert len(seen) == 900 or batches != 150
    assert len(seen) == len(set(seen)) or batches == 4000
    assert np.mean(padded) > 0.7 * LIMIT or batches > 10


def test_lines_that_fill_a_batch_each():
    figures = check(Text(2000, 600, 760, bad=0), 2, steps=2, limit=800)
    assert figures["empty"] == 0


def test_any_batch_can_be_made_first():
    """Resuming: a batch does not depend on those made before, nor on the process."""
    text = Text(5000)
    batches = TextBatches(text, LIMIT, 1, 1, 2)
    steps = [0, 5, batches.block_batches - 1, batches.block_batches, 3 * batches.block_batches + 7]
    for step in steps:
        ours, alone = batches[step], TextBatches(text, LIMIT, 1, 1, 2)[step]
        for name in ("numbers", "passes", "used"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(alone, name))
    other = TextBatches(text, LIMIT, 2, 1, 2)[5]
    assert set(other.numbers) != set(batches[5].numbers)


def test_lines_are_counted_once_a_block():
    text = Text(50_000)
    batches = TextBatches(text, LIMIT, 1)
    for step in range(2 * batches.block_batches):
        batches[step]
    assert text.counted == 3 * batches.block_lines  # the first one to plan the blocks as well


def test_lines_without_room_are_not_lost_in_silence():
    """A text whose later passes are longer than the first lines promise: the limit holds."""

    class Growing(Text):
        def unit_counts(self, lines, passes):
            return super().unit_counts(lines, passes) * (1 + (passes > 3))

    text = Growing(2000, bad=0, longest=400)
    batches = TextBatches(text, LIMIT, 1)
    seen, without = [], 0
    for step in range(6 * batches.block_batches):
        lines = batches[step]
        counts = text.unit_counts(lines.numbers, lines.passes)[lines.used]
        assert len(counts) * counts.max(initial=0) <= LIMIT
        seen += zip(lines.passes.tolist(), lines.numbers.tolist(), strict=True)
        without += int((~lines.used).sum())
    assert len(seen) == len(set(seen)) == 6 * batches.block_lines and without > 100


def test_a_text_without_a_usable_line_is_refused():
    text = Text(50, 900, 1000, bad=0)
    with pytest.raises(ValueError, match=r"text.txt: none of 50 lines .* 1 to 800 units \(batch_"):
        TextBatches(text, 800, 1)
