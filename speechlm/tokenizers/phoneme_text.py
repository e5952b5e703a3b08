"""Text to phoneme units, on the fly: lexicon, silences, durations, for whole batches of lines.

What a line becomes depends on (seed, epoch, line number) only, never on the batch it is in or on
the worker: all random numbers are hashes of these and of the position in the line (splitmix64,
Steele et al. 2014, run as a counter-based generator). Nothing is stored of the corpus; the tables
are those of the lexicon.

Per line (SpeechLM, the phoneme-unit tokenizer for text): SIL at both ends, SIL after each word but
the last with some probability, every phone repeated by a drawn duration, `</s>` at the end. The
target is the sentence's characters, `|` after each word, `</s>` at the end. A word that the
lexicon lacks becomes noise (SPN_S), as the lexicon's `<UNK>` does in the released pipeline, and
is counted. Sentences of 2,000 phones or letters, or of 2,800 units, and more are dropped (its
filters are strict too), and so are empty ones, and those whose letters CTC could not write in the
units that were drawn (which the released pipeline keeps, with a loss of 0): each is listed with
its reason. As in that pipeline, a sentence that comes out with 4,375 units or more is first given
durations without chance, of the mean less 1, or 2, .., until it has fewer; few of them have fewer
than 2,800 then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from speechlm.conventions import EOS
from speechlm.data.lexicon import Lexicon
from speechlm.data.splitmix import GOLDEN, mix, random_numbers
from speechlm.data.vocabulary import (
    NOISE,
    SILENCE,
    CharacterVocabulary,
    UnitVocabulary,
    add_positions,
    look_up,
)
from speechlm.tokenizers.durations import EDGE, RESOLUTION_BITS, UnitDurations
from speechlm.tokenizers.text_batch import Dropped, TextBatch
from speechlm.tokenizers.word_table import WordTable

MOST_UNITS = 2800
"""Lines with as many units, or more, are left out."""
_SHORTEN = 4375
"""Lines that come out with as many units, or more, get shorter durations, without chance."""
_LIMITS = {"phones": 2000, "characters": 2000, "units": MOST_UNITS}

_SILENCE_STREAM = 0xD1B54A32D192ED03
_BEGIN, _END, _UNKNOWN, _BETWEEN = range(4)  # rows of the phone table before the words
_CHUNK = 256
_VISIBLE = {code: repr(chr(code)) for code in range(32)}


def line_keys(seed: int, epochs: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Key of each line's random numbers, uint64 (n,): a hash of (seed, epoch, line number)."""
    # base[n] = mix(mix(seed + g) + epoch[n] + g), key[n] = mix((index[n] + 1) g + base[n]), all
    # modulo 2^64
    start = random_numbers(seed, np.array([1]))
    bases = mix(start + epochs.astype(np.uint64) + GOLDEN)
    return mix((indices + 1).astype(np.uint64) * GOLDEN + bases)


@dataclass
class _Words:
    """Words of some lines as rows of the phone table, a marker before, between and after lines.

    `rows` (1 + words + lines,), `markers` (lines + 1,) places of the markers in it, `unknown`
    the words without a row of their own.
    """

    rows: np.ndarray
    markers: np.ndarray
    unknown: list[str]


@dataclass
class _Plan:
    """Phones and durations of some lines, before the phones are repeated."""

    places: np.ndarray
    indices: np.ndarray
    phones: np.ndarray
    durations: np.ndarray
    phone_counts: np.ndarray
    unit_counts: np.ndarray
    characters: np.ndarray
    character_counts: np.ndarray
    dropped: list[Dropped]
    unknown: list[str]

    @classmethod
    def of_nothing(cls, dropped: list[Dropped]) -> _Plan:
        """No line but those that were dropped."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, none, none, none, none, none, dropped, [])

    def without(self, keep: np.ndarray) -> _Plan:
        """Only the lines with a True in `keep`."""
        phones = np.repeat(keep, self.phone_counts)
        characters = np.repeat(keep, self.character_counts)
        return _Plan(
            self.places[keep],
            self.indices[keep],
            self.phones[phones],
            self.durations[phones],
            self.phone_counts[keep],
            self.unit_counts[keep],
            self.characters[characters],
            self.character_counts[keep],
            self.dropped,
            self.unknown,
        )


class PhonemeTextTokenizer:
    """Turns lines of text into phoneme units and character targets.

    The first pronunciation of each word is used. `durations`: the paper's constants by default.
    `silence_probability`: that of `durations` by default. `ctc_outputs`: CTC outputs that a model
    has for each unit; lines whose letters do not fit into these are left out. 0: none is left out,
    where something else makes the units of these phones.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        seed: int,
        durations: UnitDurations | None = None,
        silence_probability: float | None = None,
        ctc_outputs: int = 1,
    ) -> None:
        durations = durations or UnitDurations.paper()
        if silence_probability is None:
            silence_probability = durations.silence_probability
        if not 0 <= silence_probability <= 1:
            raise ValueError(f"silence_probability is {silence_probability}; expected 0 .. 1")
        self.seed, self.ctc_outputs = seed, ctc_outputs
        self.units = UnitVocabulary.phones()
        self.characters = CharacterVocabulary()
        self._character_table = self.characters.table.copy()
        self._character_table[ord("\n")] = EOS
        self.silence_probability = silence_probability
        self._silence_below = np.uint64(min(int(silence_probability * 2**64), 2**64 - 1))
        self._words = WordTable(["", *lexicon])
        self._table = durations.rows.reshape(-1)
        self._means = durations.means
        spellings = (add_positions(lexicon.entries[word][0]) for word in lexicon)
        special = [[EDGE], [EDGE, "</s>"], [NOISE], [EDGE, "</s>", EDGE]]
        self._build([*special, *spellings], durations)

    def _build(self, spellings: Sequence[Sequence[str]], durations: UnitDurations) -> None:
        """Flat table of the phones of all words, each with a SIL behind it that is used or not."""
        known = {"</s>": (EOS, 0), EDGE: (self._id(SILENCE), durations.row(EDGE))}
        # Row w of one flat table has sizes[w] phones from starts[w] on, and behind them a SIL that
        # is taken if the word has a pause behind it (S: silence at an edge, e: </s>):
        #
        #   row    _BEGIN   _END    _UNKNOWN   _BETWEEN   words ...
        #   table  S SIL    S e SIL SPN_S SIL  S e S SIL  HH_B AH0_I L_I OW1_E SIL ...
        places: dict[str, int] = {}
        flat: list[int] = []
        for spelling in spellings:
            flat += [places.setdefault(symbol, len(places)) for symbol in (*spelling, SILENCE)]
        for symbol in places:
            if symbol not in known:
                known[symbol] = (self._id(symbol), durations.row(symbol))
        ids, rows = np.array([known[symbol] for symbol in places], np.int64).T[:, np.array(flat)]
        self._sizes = np.array([len(spelling) for spelling in spellings], np.int64)
        self._starts = np.cumsum(self._sizes + 1) - (self._sizes + 1)
        self._phones = ids
        # first place of the phone's quantiles in the flat table of durations
        self._phone_rows = rows << RESOLUTION_BITS

    def _id(self, symbol: str) -> int:
        return int(self.units.to_model_ids(np.array(self.units.label(symbol))))

    def __call__(self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike) -> TextBatch:
        """Units and characters of lines that have these numbers in their corpus, in these epochs.

        `epochs`: that of each line, or one of all.
        Lines that are too long or empty, or that CTC cannot write, are dropped and listed.

        Raises:
            ValueError: characters other than the language's letters and space.
        """
        none = np.zeros(0, np.int64)
        plans = list(self._plans(lines, indices, epochs))
        units = [np.repeat(plan.phones, plan.durations) for plan in plans]
        return TextBatch(
            np.concatenate([none, *(plan.indices for plan in plans)]),
            np.concatenate([none, *units]),
            _offsets([none, *(plan.unit_counts for plan in plans)]),
            np.concatenate([none, *(plan.characters for plan in plans)]),
            _offsets([none, *(plan.character_counts for plan in plans)]),
            [dropped for plan in plans for dropped in plan.dropped],
            Counter(word for plan in plans for word in plan.unknown),
        )

    def unit_counts(
        self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike
    ) -> np.ndarray:
        """Number of units that `__call__` would give each line, `</s>` included; 0 if dropped."""
        counts = np.zeros(len(lines), np.int64)
        for plan in self._plans(lines, indices, epochs):
            counts[plan.places] = plan.unit_counts
        return counts

    def _plans(
        self, lines: Sequence[str], indices: ArrayLike, epochs: ArrayLike
    ) -> Iterator[_Plan]:
        """Plans of the lines, some hundred at a time so that all arrays stay in the cache."""
        numbers = np.asarray(indices, np.int64)
        if numbers.shape != (len(lines),):
            raise ValueError(f"{len(lines)} lines but line numbers of shape {numbers.shape}")
        keys = line_keys(self.seed, np.broadcast_to(epochs, numbers.shape), numbers)
        for start in range(0, len(lines), _CHUNK):
            chunk = lines[start : start + _CHUNK]
            yield self._plan(chunk, np.arange(start, start + len(chunk)), numbers, keys)

    def _plan(
        self, lines: Sequence[str], places: np.ndarray, numbers: np.ndarray, keys: np.ndarray
    ) -> _Plan:
        lines, places, empty = _tidy(lines, places)
        dropped = [Dropped(int(index), "empty") for index in numbers[empty]]
        indices = numbers[places]
        if not len(lines):
            return _Plan.of_nothing(dropped)
        raw, characters, character_counts = self._encode(lines, indices)
        words = self._find_words(raw)
        keys = keys[places]
        # Rows (R,) of the phone table, one behind the other; row r ends before place ends[r]:
        #
        #   rows  _BEGIN  HE               RAN            _BETWEEN  WE         _END
        #   flat  S       HH_B IY1_E SIL?  R_B AE1_I N_E  S e   S   W_B IY1_E  S e
        #         |------------------- line 0 --------------| |------ line 1 ----|
        sizes = self._sizes[words.rows] + self._silences(words.markers, keys)
        ends = np.cumsum(sizes)
        # flat[i]: place in the phone table, starts[r] + (i - (ends[r] - sizes[r])) for i in row r
        flat = np.repeat(self._starts[words.rows] - (ends - sizes), sizes)
        flat += np.arange(len(flat))
        # first (lines,): a line begins with the last phone, an S, of the marker before it
        first = ends[words.markers[:-1]] - 1
        phone_counts = np.diff(first, append=len(flat))
        durations, unit_counts = self._durations(flat, first, phone_counts, keys)
        plan = _Plan(
            places,
            indices,
            self._phones[flat],
            durations,
            phone_counts,
            unit_counts,
            characters,
            character_counts,
            dropped,
            words.unknown,
        )
        plan = _drop_long(plan)
        return _drop_impossible(plan, self.ctc_outputs) if self.ctc_outputs else plan

    def _durations(
        self, flat: np.ndarray, first: np.ndarray, phone_counts: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Units of each phone and of each line, int64.

        Args:
            flat: (phones,) places in the phone table.
            first, phone_counts, keys: (lines,) first phone, number of phones, key of each line.
        """
        # Phone j of a line draws mix(key + (j + 1) g), of which the upper 14 bits choose one of the
        # 16,384 quantiles of its kind's durations: (phones,) numbers of units.
        states = np.repeat(keys - first.astype(np.uint64) * GOLDEN, phone_counts)
        states += np.arange(1, len(flat) + 1, dtype=np.uint64) * GOLDEN
        draws = (mix(states) >> np.uint64(64 - RESOLUTION_BITS)).astype(np.int64)
        durations = self._table[self._phone_rows[flat] + draws].astype(np.int64)
        unit_counts = np.add.reduceat(durations, first)
        # counts are with </s>, the limits without
        long = (unit_counts > _SHORTEN) & (phone_counts <= _LIMITS["phones"])
        for n in np.flatnonzero(long):
            phones = slice(first[n], first[n] + phone_counts[n])
            durations[phones] = self._shorter(self._phone_rows[flat[phones]] >> RESOLUTION_BITS)
            unit_counts[n] = durations[phones].sum()
        return durations, unit_counts

    def _shorter(self, rows: np.ndarray) -> np.ndarray:
        """Units (phones,) of phones with these rows of durations: mean - 1, - 2, .., 1 at least.

        The first of these is taken that brings the line below the limit.
        """
        means = np.rint(self._means[rows]) - 1
        while np.maximum(1, means).sum() > _SHORTEN:
            means -= 1
        return np.maximum(1, means)

    def _find_words(self, raw: np.ndarray) -> _Words:
        """Look up the words of lines given as bytes, each word ended by a space, lines by LF."""
        # Every byte up to the space ends a word; LF, behind a space, ends an empty one:
        #
        #   raw      H E _ R A N _ \n W E _ \n
        #   ends         ^       ^ ^      ^ ^
        #   look-up     HE     RAN ""    WE ""     -1: unknown, 0: the empty word, else the lexicon
        #   rows     B  HE     RAN |     WE E      markers _BEGIN, _BETWEEN, _END at places 0, 3, 5
        ends = np.flatnonzero(raw <= ord(" "))
        rows = np.empty(len(ends) + 1, np.int64)
        rows[0] = _BEGIN
        rows[1:] = self._words(raw, ends)
        rows[1:] += _BETWEEN
        markers = np.append(0, np.flatnonzero(rows == _BETWEEN))
        rows[markers[-1]] = _END
        unknown = []
        for n in np.flatnonzero(rows == _UNKNOWN):
            # row n is the word that ends at ends[n - 1]
            start = ends[n - 2] + 1 if n > 1 else 0
            unknown.append(raw[start : ends[n - 1]].tobytes().decode("utf-8"))
        return _Words(rows, markers, unknown)

    def _silences(self, markers: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Whether there is a silence behind each word (never behind the last): bool."""
        # Word i behind the marker of its line: a silence if mix((key ^ stream) + i g) < p 2^64.
        sizes = np.diff(markers)
        own = (keys ^ np.uint64(_SILENCE_STREAM)) - markers[:-1].astype(np.uint64) * GOLDEN
        states = np.repeat(own, sizes)
        states += np.arange(len(states), dtype=np.uint64) * GOLDEN
        silences = np.append(mix(states) < self._silence_below, False)
        silences[markers] = False
        silences[markers[1:] - 1] = False
        return silences

    def _encode(
        self, lines: Sequence[str], indices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bytes of all lines with a space and LF at the end, character ids, and their numbers."""
        text = "".join([f"{line} \n" for line in lines])
        raw = np.frombuffer(text.encode("utf-8"), np.uint8)
        ids = look_up(self._character_table, text)
        if len(ids) and (ids.min() < 0 or text.count("\n") != len(lines)):
            for line, index in zip(lines, indices, strict=True):
                shown = line.translate(_VISIBLE)
                try:
                    self.characters.encode(shown)
                except ValueError as error:
                    raise ValueError(f"line {index + 1} of the text: {error}") from None
        return raw, ids, np.fromiter(map(len, lines), np.int64, len(lines)) + 2


def _tidy(lines: Sequence[str], places: np.ndarray) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Lines that are not empty, with single spaces, and their places; the places of empty ones."""
    # an empty line, or a space at either end of one, puts two spaces side by side
    joined = " \n ".join(lines)
    if joined and "  " not in joined and joined[0] != " " != joined[-1]:
        return lines, places, places[:0]
    lines = [" ".join(filter(None, line.split(" "))) for line in lines]
    full = np.array([bool(line) for line in lines])
    return [line for line in lines if line], places[full], places[~full]


def _drop_long(plan: _Plan) -> _Plan:
    """The plan without lines over the limits, which are listed with the reason."""
    # (3, lines), each without its end symbol
    sizes = np.stack([plan.phone_counts, plan.character_counts, plan.unit_counts]) - 1
    over = sizes >= np.array(list(_LIMITS.values()))[:, None]
    if not over.any():
        return plan
    names = list(_LIMITS)
    for n in np.flatnonzero(over.any(axis=0)):
        which = int(over[:, n].argmax())
        reason = f"{sizes[which, n]} {names[which]}"
        plan.dropped.append(Dropped(int(plan.indices[n]), reason))
    return plan.without(np.logical_not(over.any(axis=0)))


def _drop_impossible(plan: _Plan, ctc_outputs: int) -> _Plan:
    """The plan without lines that CTC cannot write in their units, which are listed."""
    # A line of n characters, </s> not counted, with p pairs of equal ones needs n + p outputs; its
    # last character | and the next line's first are a pair of no line, as </s> is between them.
    pairs = np.append(plan.characters[1:] == plan.characters[:-1], False)
    first = np.cumsum(plan.character_counts) - plan.character_counts
    needed = plan.character_counts - 1
    if len(first):
        needed = needed + np.add.reduceat(pairs, first, dtype=np.int64)
    fits = plan.unit_counts * ctc_outputs >= needed
    if fits.all():
        return plan
    for n in np.flatnonzero(np.logical_not(fits)):
        index, units, least = (int(row[n]) for row in (plan.indices, plan.unit_counts, needed))
        plan.dropped.append(Dropped.too_few_units(index, units, least, ctc_outputs))
    return plan.without(fits)


def _offsets(counts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
