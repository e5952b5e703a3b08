"""Which utterances and which lines of text go into which batch of which worker.

Everything follows from (seed, pass or epoch, position): any worker can name its n-th batch without
having seen the ones before, so that a resumed training goes on exactly, and memory does not grow
with the text corpus.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from speechlm.data.splitmix import FACTORS, GOLDEN
from speechlm.data.text_corpus import TextCorpus

LENGTH_STEP = 4000
"""Utterances whose lengths fall into one step (samples; 0.25 s) count as equally long."""


class SpeechBatches:
    """Utterances in batches of about equal length and limited size, in a new order every pass.

    Utterances are sorted by length in steps of 0.25 s, equals in random order, and cut into
    batches of at most `max_samples` padded samples; batches come in random order. All workers
    have equally many batches in a pass, for which some batches are halved. Every utterance
    occurs once in a pass, at one worker.

    Args:
        lengths: (U,) samples of each utterance, as they enter a batch (cropped).
        max_samples: limit of (utterances x longest) of a batch of one worker.
        seed: of the order.
        workers: number of workers.
        shuffle: False: always sorted order (validation).

    Raises:
        ValueError: an utterance is longer than `max_samples`; fewer utterances than workers.
    """

    def __init__(
        self, lengths: ArrayLike, max_samples: int, seed: int, workers: int, shuffle: bool
    ) -> None:
        self.seed, self.workers, self.shuffle = seed, workers, shuffle
        samples = np.asarray(lengths, np.int64)
        if len(samples) < workers:
            raise ValueError(f"{len(samples)} utterances cannot be shared by {workers} workers")
        if samples.max() > max_samples:
            raise ValueError(
                f"an utterance of {samples.max()} samples does not fit into batches of "
                f"{max_samples}; raise batch_samples or lower max_samples"
            )
        self._steps = -(-samples // LENGTH_STEP)
        # Lengths are rounded up to steps, so that the bounds hold for every order of equals.
        longest = np.minimum(np.sort(self._steps) * LENGTH_STEP, max_samples)
        bounds = _pack(longest, max_samples)
        # a number of batches that all workers can share equally
        self._bounds = _halve(bounds, -(-(len(bounds) - 1) // workers) * workers)

    def __len__(self) -> int:
        """Batches of one worker in a pass."""
        return (len(self._bounds) - 1) // self.workers

    def worker_pass(self, number: int, rank: int) -> list[np.ndarray]:
        """The batches of worker `rank` in pass `number`: indices of utterances."""
        if self.shuffle:
            random = np.random.default_rng([self.seed, number])
            ties = random.permutation(len(self._steps))
            batch_order = random.permutation(len(self._bounds) - 1)
        else:
            ties = np.arange(len(self._steps))
            batch_order = np.arange(len(self._bounds) - 1)
        # sorting is stable: equals stay in the random order
        order = ties[np.argsort(self._steps[ties], kind="stable")]
        batches = [order[a:b] for a, b in zip(self._bounds, self._bounds[1:], strict=False)]
        return [batches[i] for i in batch_order[rank :: self.workers]]


def padded_batches(lengths: ArrayLike, limit: float, workers: int) -> list[list[np.ndarray]]:
    """Batches of like length, each with (items x longest) at most `limit`, for all workers.

    Args:
        lengths: (U,) of the items, none above `limit`.
        limit: of a batch of one worker.
        workers: number of workers. All have equally many batches, for which some are halved, and
            the n-th batches of all workers hold items of like length.

    Returns:
        The batches of each worker: indices of items, each item once.

    Raises:
        ValueError: too few items for so many workers.
    """
    sizes = np.asarray(lengths, np.int64)
    order = np.argsort(sizes, kind="stable")
    bounds = _share(sizes[order], limit, workers)
    batches = [order[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return [batches[rank::workers] for rank in range(workers)]


def _share(lengths: np.ndarray, limit: float, workers: int) -> list[int]:
    """Bounds of batches of ascending lengths, in a number that all workers can share equally."""
    bounds = _pack(lengths, limit)
    count = -(-(len(bounds) - 1) // workers) * workers
    if count > len(lengths):
        raise ValueError(
            f"{len(lengths)} utterances in {len(bounds) - 1} batches cannot be shared equally by "
            f"{workers} workers: use fewer workers, more utterances or larger batches"
        )
    return _halve(bounds, count)


def _pack(longest: np.ndarray, limit: float) -> list[int]:
    """Bounds of batches of ascending lengths, each with count x longest <= limit (or one item)."""
    bounds = [0]
    for i, length in enumerate(longest):
        if i > bounds[-1] and (i + 1 - bounds[-1]) * length > limit:
            bounds.append(i)
    return [*bounds, len(longest)]


def _halve(bounds: list[int], count: int) -> list[int]:
    """Halve the batches with most items until there are `count`."""
    # a heap of (-items, first item), the batch with most items on top
    largest = [(a - b, a) for a, b in zip(bounds, bounds[1:], strict=False)]
    heapq.heapify(largest)
    while len(largest) < count:
        items, start = heapq.heappop(largest)
        # n items: the first n - n // 2 stay, the last n // 2 become a batch of their own
        half = -items // 2
        heapq.heappush(largest, (items + half, start))
        heapq.heappush(largest, (-half, start - items - half))
    return [*sorted(start for _, start in largest), bounds[-1]]


def permute(positions: np.ndarray, n: int, seed: Sequence[int]) -> np.ndarray:
    """Elements `positions` of a random permutation of 0 .. n-1, without making the whole of it.

    A Feistel network of four rounds over the next even power of two, walked until the result is
    below n (Black and Rogaway, Ciphers with arbitrary finite domains, 2002).
    """
    # The domain has 2^(2 half) elements, n to 4 n: the smallest even power of two, 4 at least.
    half = max(1, -(-int(n - 1).bit_length() // 2))
    mask = np.uint64((1 << half) - 1)
    keys = np.random.SeedSequence(list(seed)).generate_state(4, np.uint64)

    def shuffle(x: np.ndarray) -> np.ndarray:
        # (L, R) -> (R, L ^ f(R, key)), halves of `half` bits: a permutation whatever f is, as L
        # follows from the result by the same f. Here f is a multiplicative hash, twice.
        left, right = x >> np.uint64(half), x & mask
        for key in keys:
            mixed = (right + key) * GOLDEN
            mixed = (mixed ^ (mixed >> np.uint64(29))) * FACTORS[0]
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return (left << np.uint64(half)) | right

    # A result that is not below n is shuffled again. Such a walk stays on its cycle of the larger
    # permutation, hence returns below n, and two walks never end at one place.
    x = shuffle(np.asarray(positions, np.uint64))
    while (outside := x >= n).any():
        x[outside] = shuffle(x[outside])
    return x.astype(np.int64)


class TextBatches:
    """Lines of a text corpus in batches of similar length, cycling independently of the speech.

    The lines form an endless stream: pass after pass, each in a new random order. Epoch n takes
    the n-th stretch of it, a fixed number of lines, and deals them to exactly as many batches as
    the speech has, of about `max_units` padded units each. Lengths are estimated from bytes, as
    units are drawn later.

    Args:
        corpus: the text.
        units_per_byte: mean units of a byte of text.
        max_units: aim for (lines x longest) of a batch of one worker.
        line_units: longer lines (estimated) are left out.
        batches: batches of an epoch, over all workers.
        seed: of the order.
    """

    def __init__(
        self,
        corpus: TextCorpus,
        units_per_byte: float,
        max_units: int,
        line_units: int,
        batches: int,
        seed: int,
    ) -> None:
        self.corpus, self.seed, self.batches = corpus, seed, batches
        self._max_bytes = max(1.0, max_units / units_per_byte)
        self._line_bytes = line_units / units_per_byte
        sample = corpus.sizes_of(
            permute(np.arange(min(len(corpus), 20000)), len(corpus), [seed, 0])
        )
        sample = np.sort(sample[self._usable(sample)])
        if not len(sample):
            raise ValueError(
                f"{corpus.path}: no line of 1 to {self._line_bytes:.0f} characters was found"
            )
        # Lines of a batch, measured on sorted sample lines. An epoch takes 1 % fewer than its
        # batches hold on average, so that they seldom have to be fuller than the limit.
        lines_per_batch = len(sample) / (len(_pack(sample, self._max_bytes)) - 1)
        self.lines = max(batches, round(0.99 * batches * lines_per_batch))

    def _usable(self, sizes: np.ndarray) -> np.ndarray:
        return (sizes > 0) & (sizes <= self._line_bytes)

    def stretch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(line numbers, passes) of epoch 1, 2, ...: int64 (lines,) each."""
        positions = np.arange(self.lines * (epoch - 1), self.lines * epoch)
        # position p of the endless stream is place p mod n of pass p div n
        passes, places = np.divmod(positions, len(self.corpus))
        lines = np.empty_like(places)
        for number in np.unique(passes):
            chosen = passes == number
            lines[chosen] = permute(places[chosen], len(self.corpus), [self.seed, 1 + int(number)])
        return lines, passes

    def epoch(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """All batches of an epoch: (line numbers, passes) of each, in random order."""
        lines, passes = self.stretch(epoch)
        sizes = self.corpus.sizes_of(lines)
        usable = np.flatnonzero(self._usable(sizes))
        if len(usable) < len(lines):
            first = ", ".join(str(line + 1) for line in np.setdiff1d(lines, lines[usable])[:5])
            logging.warning(
                "%s: epoch %d leaves out %d of %d lines, empty or longer than %d bytes; "
                "the first are lines %s",
                self.corpus.path,
                epoch,
                len(lines) - len(usable),
                len(lines),
                self._line_bytes,
                first,
            )
        usable = usable[np.argsort(sizes[usable], kind="stable")]
        if len(usable) < self.batches:  # few lines, many of them unusable: use some twice
            if not len(usable):
                raise ValueError(f"{self.corpus.path}: epoch {epoch} has no usable line")
            usable = usable[np.arange(self.batches) * len(usable) // self.batches]
        # sorted by length, dealt to exactly `batches` batches, which come in random order
        bounds = _deal(sizes[usable], self._max_bytes, self.batches)
        parts = [usable[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
        random = np.random.default_rng([self.seed, epoch])
        return [(lines[parts[i]], passes[parts[i]]) for i in random.permutation(len(parts))]


def _deal(sizes: np.ndarray, limit: float, count: int) -> list[int]:
    """Bounds of exactly `count` batches of ascending sizes, of `limit` padded or little more."""
    bounds = _pack(sizes, limit)
    # too many batches: raise the limit by their excess; too few: halve the largest
    while len(bounds) - 1 > count:
        limit *= max(1.01, (len(bounds) - 1) / count)
        bounds = _pack(sizes, limit)
    return _halve(bounds, count)
