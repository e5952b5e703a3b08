"""How many units a phone lasts: the paper's constants, or statistics of aligned speech.

Rates. Speech enters the shared encoder as 20 ms frames, each with every second one of the 10 ms
labels. The constants of the released text pipeline (N(5, 2.5) units a phone, N(14, 7) a silence,
silence between words with probability 0.25) name no rate. Against the authors' own 100 utterances
of 10 ms labels (7.1 +- 3.6 labels a phone, 29 +- 24 a silence, silence at 12 % of word ends):

- a silence of 14 units is one at 20 ms (29 labels = 14.6 frames), a phone of 5 units is neither one
  at 20 ms (3.5) nor one at 10 ms (7.1);
- in all, the sentences of these utterances come out about 1.48 times as long as their speech has
  20 ms frames, and 0.74 times as long as it has 10 ms labels.

So the constants are kept as published, one unit an encoder position of 20 ms, and text is then
"spoken" slowly; statistics of 10 ms alignments are brought to 20 ms, after which text has the
length of speech. The thinning is that of the speech labels (every second one from a random start):
a run of d labels leaves floor(d / 2 + U) units, U uniform, but at least one, so that no phone is
lost. For a front end with other frames both are brought to their length in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.conventions import PAPER_FRAMING
from speechlm.data.archives import ArchiveReader, read_unit_info
from speechlm.data.atomic import write_text
from speechlm.data.vocabulary import NOISE, SILENCE, fold_phone
from speechlm.data.whole_files import read_lines
from speechlm.progress import progress

PAPER_DURATIONS = {"phone": (5.0, 2.5), "SIL": (14.0, 7.0), "SPN": (32.0, 11.0)}
"""Mean and standard deviation in units, of phones, silences and noises."""
PAPER_SILENCE_PROBABILITY = 0.25
EDGE = "SIL@edge"
"""Row of the silences at both ends of a recording, which last otherwise than those within."""
RESOLUTION_BITS = 14
"""A duration is drawn by this many random bits: 16,384 equally likely quantiles."""

_QUANTILES = (np.arange(1 << RESOLUTION_BITS) + 0.5) / (1 << RESOLUTION_BITS)
_LEAST_RUNS = 50
_HEADER = "# durations of labels: symbol, runs, mean, standard deviation, then frames:runs"


def normal_probabilities(mean: float, std: float) -> np.ndarray:
    """Probabilities of max(1, round(N(mean, std))) = 0, 1, 2 ..: float64, to 6 deviations."""
    # P(k) = F(k + 1/2) - F(k - 1/2), F the normal distribution; all below 3/2 counts as 1
    top = int(math.ceil(mean + 6 * std)) + 1
    below = [0.5 * (1 + math.erf((k + 0.5 - mean) / (std * math.sqrt(2)))) for k in range(1, top)]
    return np.diff([0.0, 0.0, *below, 1.0])


def _paper_probabilities(kind: str, frame_shift: float) -> np.ndarray:
    """Distribution by the paper's constants of a kind, in units of `frame_shift` seconds."""
    mean, std = PAPER_DURATIONS[kind]
    scale = PAPER_FRAMING.seconds / frame_shift
    return normal_probabilities(mean * scale, std * scale)


def thin(probabilities: np.ndarray, factor: float) -> np.ndarray:
    """Probabilities of max(1, floor(d / factor + U)) for d of these probabilities, U uniform."""
    # d / factor = whole + share, so floor(d / factor + U) is whole with probability 1 - share, else
    # whole + 1; a length of 0 becomes 1.
    whole, share = np.divmod(np.arange(len(probabilities)) / factor, 1)
    result = np.zeros(int(whole.max()) + 2)
    np.add.at(result, whole.astype(int), probabilities * (1 - share))
    np.add.at(result, whole.astype(int) + 1, probabilities * share)
    result[1] += result[0]
    result[0] = 0
    return result


def quantiles(probabilities: np.ndarray) -> np.ndarray:
    """Inverse of the distribution at 16,384 equally spaced points, uint16."""
    # the smallest d with F(d) > q at q = (i + 1/2) / 16,384, i = 0 .. 16,383
    cumulated = np.cumsum(probabilities)
    return np.searchsorted(cumulated / cumulated[-1], _QUANTILES, side="right").astype(np.uint16)


@dataclass
class DurationTable:
    """Histograms of run lengths in aligned speech.

    Attributes: `frame_shift` (seconds a label), `silence_probability` (of a silence between two
    words), `histograms` (symbol or EDGE -> number of runs of 0, 1, 2 .. labels, int64).
    """

    frame_shift: float
    silence_probability: float
    histograms: dict[str, np.ndarray]

    def probabilities(self, symbol: str) -> np.ndarray:
        """Distribution of a symbol's length in labels.

        With fewer than 50 runs the runs of the same phone with other stress and position are added,
        then those of all phones (silences: those of all silences; noise that was never seen: the
        paper's constants at this frame shift).
        """
        # runs to count: of the symbol; of its phone; of all phones, but not for silence and noise
        name = SILENCE if symbol == EDGE else fold_phone(symbol)
        pools = [[symbol], [s for s in self.histograms if self._base(s) == name]]
        if name not in ("SIL", "SPN"):
            pools.append([s for s in self.histograms if self._base(s) not in ("SIL", "SPN")])
        for pool in pools:
            counts = _total([self.histograms[s] for s in pool if s in self.histograms])
            if counts.sum() >= _LEAST_RUNS:
                return counts / counts.sum()
        if name == "SPN" or not counts.sum():
            kind = name if name in PAPER_DURATIONS else "phone"
            return _paper_probabilities(kind, self.frame_shift)
        return counts / counts.sum()

    @staticmethod
    def _base(symbol: str) -> str:
        return SILENCE if symbol == EDGE else fold_phone(symbol)

    def summary(self) -> str:
        """Number of runs and mean seconds of phones and silences, in one line."""
        kinds: dict[str, list[np.ndarray]] = {"phones": [], "silences": [], "silences at ends": []}
        for symbol, counts in self.histograms.items():
            silence = self._base(symbol) == SILENCE
            kind = "silences at ends" if symbol == EDGE else "silences" if silence else "phones"
            kinds[kind].append(counts)
        parts = []
        for kind, histograms in kinds.items():
            counts = _total(histograms)
            seconds = self.frame_shift * (counts @ np.arange(len(counts))) / max(1, counts.sum())
            parts.append(f"{counts.sum()} {kind} of {seconds:.3f} s")
        return f"{', '.join(parts)}, a silence after {self.silence_probability:.1%} of words"

    def write(self, path: str | Path) -> None:
        """Write as text, a row a symbol (atomically)."""
        rows = [
            _HEADER,
            f"frame_shift {self.frame_shift:g}",
            f"silence_probability {self.silence_probability:.6f}",
        ]
        for symbol in sorted(self.histograms):
            counts = self.histograms[symbol]
            lengths = np.arange(len(counts))
            n = int(counts.sum())
            mean = float(counts @ lengths) / n
            std = math.sqrt(max(0.0, float(counts @ lengths**2) / n - mean**2))
            cells = " ".join(f"{d}:{counts[d]}" for d in np.flatnonzero(counts))
            rows.append(f"{symbol} {n} {mean:.3f} {std:.3f} {cells}")
        write_text(path, "\n".join(rows) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> DurationTable:
        """Read what `write` wrote.

        Raises:
            ValueError: it is something else; the message names file and line.
        """
        values: dict[str, float] = {}
        histograms: dict[str, np.ndarray] = {}
        for number, line in enumerate(read_lines(path, "durations"), 1):
            fields = line.split()
            if not fields or line.startswith("#"):
                continue
            try:
                if fields[0] in ("frame_shift", "silence_probability"):
                    values[fields[0]] = float(fields[1])
                else:
                    histograms[fields[0]] = _read_counts(fields)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}:{number}: not a row of durations ({error})") from None
        shift = values.get("frame_shift", 0.0)
        probability = values.get("silence_probability", -1.0)
        if not (0 < shift < 1 and 0 <= probability <= 1 and histograms):
            raise ValueError(
                f"{path}: expected frame_shift (seconds), silence_probability and rows of counts, "
                f"found {values} and {len(histograms)} rows; make it with estimate_durations"
            )
        return cls(shift, probability, histograms)


def _read_counts(fields: Sequence[str]) -> np.ndarray:
    if fields[0] != EDGE:
        fold_phone(fields[0])
    cells = [tuple(map(int, cell.split(":"))) for cell in fields[4:]]
    counts = np.zeros(max(d for d, _ in cells) + 1, np.int64)
    for length, n in cells:
        if length < 1 or n < 1:
            raise ValueError(f"{length}:{n} is not frames:runs")
        counts[length] += n
    if counts.sum() != int(fields[1]):
        raise ValueError(f"counts of {fields[0]} add up to {counts.sum()}, not {fields[1]}")
    return counts


def _total(histograms: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros(max((len(h) for h in histograms), default=1), np.int64)
    for histogram in histograms:
        total[: len(histogram)] += histogram
    return total


def estimate(
    label_rows: Iterable[np.ndarray], symbols: Sequence[str], frame_shift: float
) -> DurationTable:
    """Count the run lengths of frame labels (int, (T,) each), symbols[label] being their names.

    A run of equal labels is taken for one phone. Word positions make that true but for a phone
    beside itself in the middle of a word (S_I S_I, which English has not) and a word of one phone
    said twice (AH0_S AH0_S): such pairs count as one long run. Silences at the ends of a recording
    are counted apart, under EDGE; `silence_probability` is the share of ends of words, but for
    an utterance's last, that have a silence after them.
    """
    runs: dict[str, dict[int, int]] = {}
    pauses = word_ends = utterances = 0
    for labels in label_rows:
        if not len(labels):
            continue
        # runs of equal labels: where each starts, and how long it is
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        lengths = np.diff(starts, append=len(labels)).tolist()
        names = [symbols[label] for label in np.asarray(labels)[starts]]
        utterances += 1
        for n, (name, length) in enumerate(zip(names, lengths, strict=True)):
            if name == SILENCE:
                edge = n in (0, len(names) - 1)
                pauses += not edge
                name = EDGE if edge else name
            word_ends += name.endswith(("_E", "_S"))
            row = runs.setdefault(name, {})
            row[length] = row.get(length, 0) + 1
    if word_ends <= utterances:
        raise ValueError(
            f"{utterances} utterances with {word_ends} ends of words: too little to tell durations "
            "from; expected labels of phones with word positions (_B _I _E _S)"
        )
    histograms = {}
    for name, row in runs.items():
        histograms[name] = np.bincount(list(row), list(row.values())).astype(np.int64)
    return DurationTable(frame_shift, min(1.0, pauses / (word_ends - utterances)), histograms)


def estimate_from_archives(folders: Sequence[str | Path]) -> DurationTable:
    """Run lengths of the labels in unit archives (`units.scp`, `frame_shift`, `tokens.txt`).

    Raises:
        ValueError: the folders differ in symbols or frame shift.
    """
    readers = [ArchiveReader(Path(folder) / "units.scp") for folder in folders]
    shifts, vocabularies = zip(*map(read_unit_info, folders), strict=True)
    for folder, shift, vocabulary in zip(folders, shifts, vocabularies, strict=True):
        vocabularies[0].check_same(vocabulary)
        if shift != shifts[0]:
            raise ValueError(
                f"labels of {folders[0]} are {shifts[0]:g} s apart, those of {folder} {shift:g} s; "
                "durations can be counted together only at one frame shift"
            )
    rows = (reader[utterance] for reader in readers for utterance in reader)
    shown = progress(rows, "utterances", sum(map(len, readers)))
    return estimate(shown, vocabularies[0].symbols, shifts[0])


class UnitDurations:
    """What the text tokenizer draws from: one row of quantiles for each kind of unit.

    `rows` (R, 16384) uint16 units; `means` (R,); `row(symbol)` index of a symbol's row (EDGE:
    silence at the ends); `silence_probability` between words. Row 0 is the constant 1 (`</s>`).
    """

    def __init__(
        self,
        distributions: Sequence[np.ndarray],
        row_of: dict[str, int],
        silence_probability: float,
    ) -> None:
        constant = np.array([0.0, 1.0])
        self.rows = np.stack([quantiles(p) for p in (constant, *distributions)])
        self.means = self.rows.mean(axis=1)
        self.silence_probability = silence_probability
        self._row_of = row_of

    def row(self, symbol: str) -> int:
        """Row of a phone symbol (or of its kind, for the constants).

        Raises:
            ValueError: it has none.
        """
        if symbol in self._row_of:
            return self._row_of[symbol]
        for name in (fold_phone(symbol), "phone"):
            if name in self._row_of:
                return self._row_of[name]
        raise ValueError(f"no durations for {symbol}: give it to UnitDurations.from_table")

    @classmethod
    def paper(cls, frame_shift: float = PAPER_FRAMING.seconds) -> UnitDurations:
        """The constants of the released pipeline, one unit being `frame_shift` seconds."""
        distributions = [_paper_probabilities(kind, frame_shift) for kind in PAPER_DURATIONS]
        row_of = {name: row for row, name in enumerate(PAPER_DURATIONS, 1)}
        row_of[EDGE] = row_of["SIL"]
        return cls(distributions, row_of, PAPER_SILENCE_PROBABILITY)

    @classmethod
    def from_table(
        cls,
        table: DurationTable,
        symbols: Iterable[str],
        frame_shift: float = PAPER_FRAMING.seconds,
    ) -> UnitDurations:
        """Statistics of aligned speech, one unit being `frame_shift` seconds.

        `symbols`: those that will be asked for; every one gets its own row.

        Raises:
            ValueError: the units are to be shorter than the table's labels.
        """
        factor = frame_shift / table.frame_shift
        if factor < 1:
            raise ValueError(
                f"durations were measured in steps of {table.frame_shift:g} s and cannot be given "
                f"in units of {frame_shift:g} s"
            )
        names = list(dict.fromkeys([SILENCE, EDGE, NOISE, *symbols]))
        distributions = [thin(table.probabilities(name), factor) for name in names]
        row_of = {name: row for row, name in enumerate(names, 1)}
        return cls(distributions, row_of, table.silence_probability)
