"""What the text-to-unit model learns from: aligned phones of the paired set and its hidden units.

train/, valid/     phones.scp, durations.scp, units.scp: int32 vectors of each utterance,
                   (P,) model ids of MONOPHONES, (P,) units of each phone, (U,) unit labels
phones.txt         the phones, by label
tokens.txt, frame_shift   of the hidden units
report.txt         numbers, and every utterance that was left out, with the reason
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechlm.data.archives import (
    ArchiveReader,
    ArchiveWriter,
    merge_archives,
    read_unit_info,
    write_unit_info,
)
from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.monophones import MONOPHONES, Misfit, phone_of_label, with_durations
from speechlm.data.vocabulary import N_SPECIALS, SILENCE
from speechlm.progress import progress

NAMES = ("phones", "durations", "units")
PARTS = ("train", "valid")
SHAPES = "units_shape"
"""File with the number of units of each utterance, by which ESPnet makes batches."""
SILENCE_ID = N_SPECIALS + MONOPHONES.label(SILENCE)
MISFITS = 0.1
"""Share of utterances whose units may not fit the alignment, before it is taken for an error."""


@dataclass
class Pair:
    """An utterance: phones (P,), durations (P,), units (U,)."""

    phones: np.ndarray
    durations: np.ndarray
    units: np.ndarray


@dataclass
class PairReport:
    """What became of the utterances."""

    pairs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    phones: int = 0
    units: int = 0
    without_unit: dict[str, int] = field(default_factory=dict)
    """Utterance -> phones that are too short for a unit; they are used, with duration 0."""
    left_out: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """One line."""
        zeros = sum(self.without_unit.values())
        return (
            f"{self.pairs['train']} pairs for training, {self.pairs['valid']} for validation, "
            f"{self.phones} phones, {self.units} units; {zeros} phones of "
            f"{len(self.without_unit)} utterances have no unit; left out: {len(self.left_out)}"
        )

    def write(self, path: Path) -> None:
        """The summary, each utterance left out, each with phones that have no unit."""
        rows = [self.summary(), "", "left out:"]
        rows += [f"{utterance} {why}" for utterance, why in sorted(self.left_out.items())]
        rows += ["", "phones without a unit:"]
        rows += [f"{utterance} {n}" for utterance, n in sorted(self.without_unit.items())]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def held_out(utterances: Sequence[str], share: float) -> set[str]:
    """Utterances for validation: about this share, evenly spread over the sorted ids.

    Raises:
        ValueError: fewer than two utterances, or a share that leaves none for training.
    """
    count = max(1, round(share * len(utterances)))
    if not 0 < share < 1 or count >= len(utterances):
        raise ValueError(
            f"a share of {share:g} of {len(utterances)} pairs cannot be held out; expected "
            "a share between 0 and 1 that leaves pairs for training"
        )
    ids = sorted(utterances)
    return {ids[(2 * n + 1) * len(ids) // (2 * count)] for n in range(count)}


def make_pairs(align: Path, units: Path, output: Path, valid_share: float) -> PairReport:
    """Write the folder that this module describes.

    Args:
        align: folder with 10 ms labels of a forced alignment (`units.scp`, ...).
        units: folder with hidden units of the same audio.
        output: the new folder.
        valid_share: share of the pairs that is held out.

    Raises:
        ValueError: frame shifts that do not fit, units that are not in tokens.txt, more than
            every tenth utterance with units that do not fit its alignment, or no pair is left.
    """
    label_shift, labels = read_unit_info(align)
    unit_shift, tokens = read_unit_info(units)
    factor = round(unit_shift / label_shift)
    if factor < 1 or abs(factor * label_shift - unit_shift) > 1e-6:
        raise ValueError(
            f"{units} has a unit every {unit_shift:g} s and {align} a label every "
            f"{label_shift:g} s; units a whole number of labels apart expected"
        )
    pairs = _Pairs(align, units, phone_of_label(labels.symbols), factor)
    report, misfits, usable = PairReport(), [], []
    for utterance in progress(pairs.ids, "utterances"):
        try:
            pair = pairs[utterance]
        except ValueError as error:
            report.left_out[utterance] = str(error)
            if isinstance(error, Misfit):
                misfits.append(f"{utterance} ({error})")
            continue
        if not 0 <= pair.units.min() <= pair.units.max() < len(tokens):
            raise ValueError(
                f"{units / 'tokens.txt'} has units 0 to {len(tokens) - 1}, but {utterance} has "
                f"{pair.units.min()} to {pair.units.max()}: these units belong to other tokens"
            )
        usable.append(utterance)
    checked = len(usable) + len(misfits)
    if len(misfits) > MISFITS * checked:
        raise ValueError(
            f"{units} does not fit {align}: {len(misfits)} of {checked} utterances differ by more "
            f"than one unit; make both from the same audio: {show_ids(misfits)}"
        )
    if not usable:
        why = [f"{u} ({reason})" for u, reason in sorted(report.left_out.items())]
        raise ValueError(f"{align} and {units} have no usable pair: {show_ids(why)}")
    valid = held_out(usable, valid_share)
    for part in PARTS:
        chosen = [u for u in usable if (u in valid) == (part == "valid")]
        report.pairs[part] = len(chosen)
        _write(output / part, pairs, chosen, report)
    write_unit_info(output, unit_shift, tokens.symbols, tokens.origin)
    MONOPHONES.write(output / "phones.txt")
    with output_file(output / "report.txt") as path:
        report.write(path)
    if report.left_out:
        first = [f"{u} ({why})" for u, why in sorted(report.left_out.items())]
        logging.warning("%s: left out: %s", output, show_ids(first))
    return report


def read_pairs(folder: Path) -> Iterator[Pair]:
    """The pairs of a part, one after the other."""
    readers = [ArchiveReader(folder / f"{name}.scp") for name in NAMES]
    for utterance in readers[0]:
        yield Pair(*(reader[utterance] for reader in readers))


class _Pairs:
    """Pairs by utterance.

    Raises:
        ValueError: an utterance cannot be one.
    """

    def __init__(self, align: Path, units: Path, table: np.ndarray, factor: int) -> None:
        self._labels = ArchiveReader(align / "units.scp")
        self._units = ArchiveReader(units / "units.scp")
        self._table, self._factor = table, factor
        self.ids = sorted({*self._labels, *self._units})

    def __getitem__(self, utterance: str) -> Pair:
        if utterance not in self._units:
            raise ValueError("no units")
        if utterance not in self._labels:
            raise ValueError("no alignment")
        units = self._units[utterance].astype(np.int64)
        labels = self._labels[utterance].astype(np.int64)
        if len(units) < 2:
            raise ValueError(f"{len(units)} units, at least 2 expected")
        phones, durations = with_durations(labels, self._table, len(units), self._factor)
        if (phones == SILENCE_ID).all():
            raise ValueError("silence only")
        return Pair(phones, durations, units)


def _write(folder: Path, pairs: _Pairs, chosen: Sequence[str], report: PairReport) -> None:
    """The three archives of a part, and ESPnet's shape file of its units."""
    with ExitStack() as stack:
        writers = [stack.enter_context(ArchiveWriter(folder, name)) for name in NAMES]
        shapes = stack.enter_context(output_file(folder / SHAPES))
        file = stack.enter_context(shapes.open("w", encoding="utf-8"))
        for utterance in chosen:
            pair = pairs[utterance]
            for name, writer in zip(NAMES, writers, strict=True):
                writer.write(utterance, getattr(pair, name))
            file.write(f"{utterance} {len(pair.units)}\n")
            report.phones += len(pair.phones)
            report.units += len(pair.units)
            zeros = int((pair.durations == 0).sum())
            if zeros:
                report.without_unit[utterance] = zeros
    for name in NAMES:
        merge_archives(folder, 1, name)
