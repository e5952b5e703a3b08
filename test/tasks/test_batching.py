"""Batches of speech and of text: who gets what, and when."""

import numpy as np
import pytest

from speechlm.data.text_corpus import TextCorpus
from speechlm.tasks.batching import SpeechBatches, TextBatches, permute

LENGTHS = np.random.default_rng(0).integers(20000, 250000, 301)


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


def test_passes_differ_and_can_be_made_again():
    def first(number, seed=5):
        return SpeechBatches(LENGTHS, 1_400_000, seed, 2, True).worker_pass(number, 1)[0].tolist()

    assert first(1) == first(1)
    assert len({tuple(first(n)) for n in range(5)}) == 5
    assert first(1) != first(1, seed=6)


def test_limits_of_speech_batches_are_explained():
    with pytest.raises(ValueError, match="300000 samples does not fit into batches of 200000"):
        SpeechBatches([300000, 10], 200000, 0, 1, True)
    with pytest.raises(ValueError, match="2 utterances cannot be shared by 3 workers"):
        SpeechBatches([30, 10], 200000, 0, 3, True)


@pytest.mark.parametrize("n", [1, 2, 3, 33, 1000])
def test_permutation(n):
    places = permute(np.arange(n), n, [3, 1])
    assert sorted(places) == list(range(n))
    assert permute(np.array([n - 1]), n, [3, 1])[0] == places[-1]


def text_batches(tmp_path, n_lines, batches, seed=1, max_units=400):
    random = np.random.default_rng(0)
    path = tmp_path / "text"
    path.write_text("".join("A" * int(n) + "\n" for n in random.integers(0, 90, n_lines)))
    return TextBatches(TextCorpus(path), 2.0, max_units, 160, batches, seed)


def test_text_is_dealt_once_a_pass(tmp_path):
    text = text_batches(tmp_path, 3000, 40)
    usable = {i for i, n in enumerate(text.corpus.sizes()) if 0 < n <= 80}
    per_pass = 3000 / text.lines
    seen: dict[int, list[int]] = {}
    for epoch in range(1, int(2 * per_pass) + 2):
        batches = text.epoch(epoch)
        assert len(batches) == 40
        for lines, passes in batches:
            assert len(lines) and 2.0 * len(lines) * text.corpus.sizes()[lines].max() <= 440
            for line, number in zip(lines, passes, strict=True):
                seen.setdefault(int(number), []).append(int(line))
    for number in (0, 1):
        assert sorted(seen[number]) == sorted(usable)
    assert seen[0][:20] != seen[1][:20]


def test_little_text_cycles(tmp_path):
    text = text_batches(tmp_path, 5, 12)
    passes = np.concatenate([passes for _, passes in text.epoch(1)])
    assert passes.max() >= 2
    again = text.epoch(1)
    assert all((a[0] == b[0]).all() for a, b in zip(again, text.epoch(1), strict=True))
