"""Which utterances and which lines of text go into which batch of which worker.

Everything follows from (seed, pass or block, position): any worker can name its n-th batch without
having seen the ones before, so that a resumed training goes on exactly, and memory does not grow
with the text corpus. The limits are of padded batches, and none exceeds them.
"""

from __future__ import annotations

import logging
import math
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from speechlm.data.columns import portions
from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.data.permutation import permute
from speechlm.tasks.packing import halve, length_steps, pack, runs, share

BLOCK_LINES = 8192
"""Lines of text that are counted, sorted and dealt to batches together, about."""
_LEAST_LINES = 1024  # of a block of a smaller text: then it holds several passes
_SAFETY = 5  # standard deviations by which a block is expected to stay below its batches' limit


class SpeechBatches:
    """Utterances in batches of about equal length and limited size, in a new order every pass.

    Utterances are sorted by length in steps of 1.5 %, equals in random order, and cut into
    batches of at most `max_samples` padded samples; batches come in random order. All workers
    have equally many batches in a pass, for which some batches are halved. Every utterance
    occurs once in a pass, at one worker.

    Args:
        lengths: (U,) samples of each utterance, as they enter a batch (cropped).
        max_samples: limit of (utterances x longest) of a batch of one worker.
        seed: of the order.
        workers: number of workers.
        shuffle: False: always sorted order (validation).
        at_once: so many batches of like length are put together as one (see `pack`).

    Attributes:
        loss: about the share of a batch's samples that are padding, or that are lost where its
            utterances are cropped to the shortest one.

    Raises:
        ValueError: an utterance is longer than `max_samples`; fewer utterances than the workers
            need.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        max_samples: int,
        seed: int,
        workers: int,
        shuffle: bool,
        at_once: int = 1,
    ) -> None:
        self.seed, self.workers, self.shuffle = seed, workers, shuffle
        samples = np.asarray(lengths)
        if samples.max() > max_samples:
            raise ValueError(
                f"an utterance of {samples.max()} samples does not fit into batches of "
                f"{max_samples}; raise batch_samples or lower max_samples"
            )
        # Lengths are rounded up to steps, so that the bounds hold for every order of equals.
        longest = length_steps(int(samples.min()), int(samples.max()))
        self._steps, counts = _in_steps(samples, longest)
        self._ends = np.cumsum(counts)  # of the utterances of each step, when they are sorted
        self._bounds = share(longest, self._ends, max_samples, workers, at_once)
        self.loss = _padding(self._bounds, longest, self._ends)

    def __len__(self) -> int:
        """Batches of one worker in a pass."""
        return (len(self._bounds) - 1) // self.workers

    def worker_pass(
        self, number: int, rank: int, first: int = 0, stop: int | None = None
    ) -> list[np.ndarray]:
        """Batches first .. stop - 1 of worker `rank` in pass `number`: indices of utterances."""
        utterances = np.arange(len(self._steps), dtype=np.min_scalar_type(len(self._steps)))
        batches = np.arange(len(self._bounds) - 1)
        if self.shuffle:
            random = np.random.default_rng([self.seed, number])
            random.shuffle(utterances)
            random.shuffle(batches)
        return self._chosen(utterances, batches[rank :: self.workers][first:stop].copy())

    def _chosen(self, utterances: np.ndarray, batches: np.ndarray) -> list[np.ndarray]:
        """These batches of all utterances, sorted by length; equals stay in their order.

        Counting sort, a portion at a time, whose result is kept for these batches alone: numpy's
        sort of all would take ten times the memory.
        """
        starts = np.sort(self._bounds[batches])
        sizes = np.diff(self._bounds)[np.searchsorted(self._bounds, starts)]
        before = np.cumsum(sizes) - sizes  # in the batches before, of these
        wanted = np.zeros(len(utterances), bool)
        for first, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            wanted[first : first + size] = True
        chosen = np.empty(int(sizes.sum()), np.int64)
        for places, found in self._sorted(utterances):
            kept = wanted[places]
            own, batch = places[kept], np.searchsorted(starts, places[kept], "right") - 1
            chosen[own - starts[batch] + before[batch]] = found[kept]
        del wanted
        pieces = np.split(chosen, before[1:])
        return [pieces[i] for i in np.searchsorted(starts, self._bounds[batches])]

    def _sorted(self, utterances: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some utterances at a time, with their places among all when these are sorted."""
        # nexts[s]: where the next utterance of s steps goes
        nexts = np.append(0, self._ends[:-1])
        for start, stop in portions(len(utterances)):
            steps = self._steps[utterances[start:stop]]
            by_steps = np.argsort(steps, kind="stable")
            counts = np.bincount(steps, minlength=len(nexts))
            # the n-th utterance of s steps goes to nexts[s] + n; its n is its place in the sorted
            # portion without the utterances of fewer steps
            before = np.cumsum(counts) - counts
            places = np.repeat(nexts - before, counts) + np.arange(len(steps))
            yield places, utterances[start + by_steps]
            nexts += counts


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
    bounds = share(*runs(sizes[order]), limit, workers)
    batches = [order[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return [batches[rank::workers] for rank in range(workers)]


def limited_batches(
    shape_file: str | os.PathLike[str],
    batch_bins: int,
    workers: int,
    max_sentences: int | None = None,
) -> list[list[tuple[str, ...]]]:
    """The batches of each worker: ids, of like length, at most batch_bins / workers padded numbers.

    Args:
        shape_file: `id length` or `id length,width` a line.
        batch_bins: limit of utterances x longest x width, of all workers together.
        workers: number of workers.
        max_sentences: limit of utterances, of all workers together; None: none.

    Raises:
        ValueError: an utterance is larger than a batch of one worker; too few utterances, or a
            limit of them below the number of workers.
    """
    sizes = {
        utterance: math.prod(map(int, shape.split(",")))
        for utterance, shape in read_table(shape_file).items()
    }
    ids, limit = list(sizes), batch_bins // workers
    large = [f"{u} ({n})" for u, n in sizes.items() if n > limit]
    if large:
        raise ValueError(
            f"{shape_file}: {len(large)} of {len(ids)} utterances are larger than a batch, which "
            f"has {limit} numbers (batch_bins {batch_bins} for {workers} workers); give a "
            f"batch_bins of {workers * max(sizes.values())} or more, or leave them out: "
            f"{show_ids(large)}"
        )
    least = 0
    if max_sentences is not None:
        if max_sentences < workers:
            raise ValueError(
                f"max_sentences: {workers} or more expected, one a worker, got {max_sentences}"
            )
        # Of utterances that count as limit / n at least, n go into a batch at most.
        least = limit // (max_sentences // workers)
    try:
        parts = padded_batches([max(least, size) for size in sizes.values()], limit, workers)
    except ValueError as error:
        raise ValueError(f"{shape_file}: {error}") from None
    return [[tuple(ids[i] for i in batch) for batch in batches] for batches in parts]


def _in_steps(samples: np.ndarray, longest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The step of each length, and how many lengths each of the steps has that end at `longest`."""
    steps = np.empty(len(samples), np.min_scalar_type(len(longest)))
    counts = np.zeros(len(longest), np.int64)
    for start, stop in portions(len(samples)):
        part = np.searchsorted(longest, samples[start:stop])
        steps[start:stop] = part
        counts += np.bincount(part, minlength=len(counts))
    return steps, counts


def _padding(bounds: np.ndarray, longest: np.ndarray, ends: np.ndarray) -> float:
    """About the share of padding in batches with these bounds.

    Args:
        bounds: of the batches, among sorted utterances.
        longest, ends: the longest utterance of each step of lengths, and utterances up to its end.
    """
    middles = (longest + np.append(longest[:1], longest[:-1])) / 2
    before = np.append(0, np.cumsum(middles * np.diff(ends, prepend=0)))
    samples = np.interp(bounds, np.append(0, ends), before)  # of the utterances before a bound
    last = longest[np.searchsorted(ends, bounds[1:])]  # of a batch the step of its last utterance
    padded = (np.diff(bounds) * last).sum()
    return float(1 - samples[-1] / padded) if padded else 0.0


class CountedText(Protocol):
    """What `TextBatches` asks of a text: its lines, its name, and how many units lines have."""

    @property
    def path(self) -> Path:
        """Its file."""

    def __len__(self) -> int:
        """Lines."""

    def unit_counts(self, lines: np.ndarray, passes: np.ndarray) -> np.ndarray:
        """(n,) units of lines in these passes through the text, as they enter a batch; 0: none."""


@dataclass(frozen=True)
class Lines:
    """Lines of a batch.

    Attributes: `numbers` (n,) in the text, from 0; `passes` (n,) through the text; `used` (n,)
    bool, False for lines that are empty, too long or without room: they are only counted and named.
    """

    numbers: np.ndarray
    passes: np.ndarray
    used: np.ndarray


class TextBatches:
    """Lines of a text in batches of equal length and limited size, cycling apart from the speech.

    The lines form an endless stream: pass after pass through the text, each in a new random order.
    It is cut into blocks of some thousand lines, n each, and the workers take blocks by turns. The
    units of a block's lines are counted, as they will enter the batches; then the lines are
    sorted by these counts and dealt to K batches, which come in random order:

        stream         | n lines | n lines | n lines | n lines | ...
        worker 0 of 2  | its batches 0 .. K - 1
        worker 1                 | its batches 0 .. K - 1
        worker 0                           | its batches K .. 2 K - 1

    n and K are fixed when training begins, from the counts of the first block: K batches have
    room for the lines of any block, but for a chance of less than one in a million. Lines without
    room would be left out like those that are too long. Every line is in one batch of a pass.

    For validation K is given, and n follows: block 0 has the lines that K batches hold, not more
    than a pass if that is one line a batch at least.

    Args:
        text: the text.
        max_units: limit of padded units (lines x longest) of a batch of one worker.
        seed: of the order.
        rank, workers: which worker this is, of how many.
        batches: K; None: as many as a block of some thousand lines needs.
        at_once: so many batches of like length are put together as one (see `pack`).

    Raises:
        ValueError: no line has 1 to `max_units` units.
    """

    def __init__(
        self,
        text: CountedText,
        max_units: int,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        batches: int | None = None,
        at_once: int = 1,
    ) -> None:
        self.text, self.max_units, self.seed = text, max_units, seed
        self.rank, self.workers, self.at_once = rank, workers, at_once
        if batches is None:
            self.block_lines = min(BLOCK_LINES, max(len(text), _LEAST_LINES))
            self.block_batches = self._batches_for(self._first_counts())
        else:
            self.block_lines = min(max(BLOCK_LINES, batches), max(len(text), batches))
            self.block_lines = _first_that_fit(self._first_counts(), max_units, batches, at_once)
            self.block_batches = batches
        logging.info(
            "%s: %d lines, of which %d at a time are dealt to %d batches",
            text.path,
            len(text),
            self.block_lines,
            self.block_batches,
        )
        self._dealt: tuple[int, list[Lines]] | None = None

    def _first_counts(self) -> np.ndarray:
        """Units of the lines of the first block, 0 for those that cannot be used."""
        numbers, passes = self.stream(0)
        units = self._usable(self.text.unit_counts(numbers, passes))
        if not units.any():
            raise ValueError(
                f"{self.text.path}: none of {len(np.unique(numbers))} lines that were looked at "
                f"has 1 to {self.max_units} units (batch_units), as a line of a batch must; "
                "text_units --report FILE says what is wrong with each"
            )
        return units

    def _usable(self, units: np.ndarray) -> np.ndarray:
        """Numbers of units, with 0 for lines that are too long."""
        return np.where(units <= self.max_units, units, 0)

    def _batches_for(self, units: np.ndarray) -> int:
        """K: batches that have room for the lines of any block, given the units of one."""
        lengths = runs(np.sort(units[units > 0]))
        needed = len(pack(*lengths, self.max_units, self.at_once)) - 1
        # Two blocks' sums of units differ with standard deviation sigma sqrt(2 n), relative to
        # their mean mu n; one more batch, as the last is seldom full, and one for rounding.
        spread = units.std() / units.mean() * np.sqrt(2 / len(units))
        return min(int(needed * (1 + _SAFETY * spread)) + 2, len(units))

    def stream(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """(line numbers, passes) of a block of the stream, (n,) int64 each."""
        positions = np.arange(self.block_lines * block, self.block_lines * (block + 1))
        # position p of the endless stream is place p mod L of pass p div L, L lines of the text
        passes, places = np.divmod(positions, len(self.text))
        lines = np.empty_like(places)
        for number in np.unique(passes):
            chosen = passes == number
            lines[chosen] = permute(places[chosen], len(self.text), [self.seed, 1 + int(number)])
        return lines, passes

    def __getitem__(self, step: int) -> Lines:
        """The lines of batch 0, 1, ... of this worker; their block is kept for the next ones."""
        turn, place = divmod(step, self.block_batches)
        if self._dealt is None or self._dealt[0] != turn:
            self._dealt = turn, self._deal(turn * self.workers + self.rank)
        return self._dealt[1][place]

    def _deal(self, block: int) -> list[Lines]:
        """The K batches of a block."""
        numbers, passes = self.stream(block)
        units = self._usable(self.text.unit_counts(numbers, passes))
        room = _first_that_fit(units, self.max_units, self.block_batches, self.at_once)
        usable = np.flatnonzero(units[:room])
        order = usable[np.argsort(units[usable], kind="stable")]
        rest = np.setdiff1d(np.arange(len(units)), order)
        bounds = _level(units[order], self.max_units, self.block_batches, self.at_once)
        batches = []
        for n in np.random.default_rng([self.seed, block]).permutation(self.block_batches):
            used = order[bounds[n] : bounds[n + 1]]
            chosen = np.concatenate([used, rest[n :: self.block_batches]])
            kept = np.arange(len(chosen)) < len(used)
            batches.append(Lines(numbers[chosen], passes[chosen], kept))
        return batches


def _first_that_fit(units: np.ndarray, limit: int, count: int, at_once: int) -> int:
    """How many of these lines, from the first on, `count` batches hold; some have no units."""

    def too_many(lines: int) -> bool:
        used = units[:lines]
        return len(pack(*runs(np.sort(used[used > 0])), limit, at_once)) - 1 > count

    return bisect_left(range(len(units) + 1), True, key=too_many) - 1


def _level(units: np.ndarray, limit: int, count: int, at_once: int) -> np.ndarray:
    """Bounds of `count` batches of ascending units, the fullest of which is as small as can be.

    `limit` is one that `count` batches keep.
    """
    lengths = runs(units)

    def enough(most: int) -> bool:
        return len(pack(*lengths, most, at_once)) - 1 <= count

    most = bisect_left(range(limit), True, key=enough)
    return halve(pack(*lengths, most, at_once), count)
