"""Units against phones: phone purity, cluster purity, PNMI.

Phones are folded to 39 and silence. A unit is compared with the phone at the middle of its 25 ms
window; one of 40 ms, which SpeechLM-Fast has, with the third of its four labels, as in training.
P phones, K clusters; p(y, z) is the share of frames with phone y and cluster z.
Source: Hsu et al. 2021 (HuBERT), metrics of target quality.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.archives import ArchiveReader, read_unit_info
from speechlm.data.kaldi_dir import show_ids
from speechlm.progress import progress
from speechlm.score.alignment import SHIFT, fold, frames_of, read_textgrid
from speechlm.score.markdown import markdown_table
from speechlm.score.textgrid import find_textgrids


class Alignments:
    """Phones of frames from unit archives with names of phones, such as forced alignments."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.source = str(folder)
        self.shift, tokens = read_unit_info(folder)
        self._names = np.array([fold(token) for token in tokens.symbols])
        self._reader = ArchiveReader(Path(folder) / "units.scp")

    def __contains__(self, utterance: str) -> bool:
        return utterance in self._reader

    def phones(self, utterance: str, n_units: int, shift: float) -> np.ndarray:
        """(n_units,) names at steps of `shift` seconds.

        Raises:
            ValueError: the lengths disagree.
        """
        ratio = shift / self.shift
        step = round(ratio)
        if step < 1 or abs(ratio - step) > 1e-6:
            raise ValueError(
                f"{self.source}: labels each {self.shift:g} s cannot be compared with units each "
                f"{shift:g} s: a multiple of them is expected"
            )
        labels = self._reader[utterance][_own_label(step) :: step]
        if abs(len(labels) - n_units) > 1:
            raise ValueError(
                f"{utterance}: {n_units} units, but {len(labels)} expected of the "
                f"{len(self._reader[utterance])} labels in {self.source}"
            )
        return self._names[labels]


class TextGrids:
    """Phones of frames from ID.TextGrid files in a folder, at any depth."""

    shift = SHIFT

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.source = str(folder)
        self._paths = find_textgrids(folder)

    def __contains__(self, utterance: str) -> bool:
        return utterance in self._paths

    def phones(self, utterance: str, n_units: int, shift: float) -> np.ndarray:
        """(n_units,) names at steps of `shift` seconds, a multiple of 10 ms."""
        step = round(shift / self.shift)
        segments = read_textgrid(self._paths[utterance])
        return frames_of(segments, n_units * step)[_own_label(step) :: step]


def _own_label(step: int) -> int:
    """Which of the `step` labels of 10 ms that a unit lasts names it."""
    return step // 2 if step > 2 else 0


Reference = Alignments | TextGrids


@dataclass
class UnitCounts:
    """How often phones and clusters meet."""

    phones: list[str]
    """P names."""
    counts: np.ndarray
    """(P, K) frames."""
    utterances: int

    def figures(self) -> dict[str, float]:
        """Purities and PNMI, as shares."""
        return {
            "utterances": self.utterances,
            "frames": int(self.counts.sum()),
            "clusters": self.counts.shape[1],
            "used": int((self.counts.sum(0) > 0).sum()),
            "phone_purity": phone_purity(self.counts),
            "cluster_purity": phone_purity(self.counts.T),
            "pnmi": pnmi(self.counts),
            "pnmi_speech": pnmi(self.counts[[p != "SIL" for p in self.phones]]),
        }


def phone_purity(counts: np.ndarray) -> float:
    """(P, K) frames -> the accuracy of naming each cluster by its most frequent phone.

    Of the transposed counts it is the cluster purity.
    """
    # sum_z max_y n(y, z) / n
    total = counts.sum()
    return float(counts.max(0).sum() / total) if total else float("nan")


def pnmi(counts: np.ndarray) -> float:
    """(P, K) frames -> I(phone; cluster) / H(phone): the uncertainty that units take away.

    nan if there is one phone only.
    """
    # I = sum p(y, z) log (p(y, z) / (p(y) p(z))), H = -sum p(y) log p(y); terms with p = 0 are 0
    joint = counts / max(counts.sum(), 1)
    phone, cluster = joint.sum(1), joint.sum(0)
    present = joint > 0
    independent = np.outer(phone, cluster)
    information = float((joint[present] * np.log(joint[present] / independent[present])).sum())
    entropy = float(-(phone[phone > 0] * np.log(phone[phone > 0])).sum())
    return information / entropy if entropy > 0 else float("nan")


def count_units(
    units: str | os.PathLike[str], reference: Reference, reader: ArchiveReader | None = None
) -> UnitCounts:
    """Count phones and clusters of the utterances that both have.

    Args:
        units: folder of unit archives.
        reference: phones of the same utterances.
        reader: of some of the units; None: all.

    Raises:
        ValueError: none is common; lengths that differ by more than one (ids and both lengths); a
            label that tokens.txt does not have.
    """
    shift, tokens = read_unit_info(units)
    reader = reader or ArchiveReader(Path(units) / "units.scp")
    common = [u for u in reader if u in reference]
    if not common:
        raise ValueError(f"{reference.source} has none of the {len(reader)} utterances of {units}")
    if len(common) < len(reader):
        absent = [u for u in reader if u not in reference]
        logging.warning("%s: not in %s: %s", units, reference.source, show_ids(absent))
    rows: dict[str, np.ndarray] = {}
    wrong = []
    for utterance in progress(common, "utterances"):
        labels = reader[utterance]
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(tokens)):
            raise ValueError(
                f"{units}: labels 0..{len(tokens) - 1} expected of {utterance}, found "
                f"{labels.min()}..{labels.max()}"
            )
        try:
            phones = reference.phones(utterance, len(labels), shift)
        except ValueError as error:
            wrong.append(str(error))
            continue
        both = min(len(phones), len(labels))
        for phone in np.unique(phones[:both]):
            # the phone's frames by cluster: a row (K,) of the counts
            found = np.bincount(labels[:both][phones[:both] == phone], minlength=len(tokens))
            rows[str(phone)] = rows.get(str(phone), 0) + found
    if wrong:
        raise ValueError(f"{len(wrong)} utterances: {'; '.join(wrong[:5])}")
    names = sorted(rows)
    return UnitCounts(names, np.stack([rows[name] for name in names]), len(common))


COLUMNS = {
    "utterances": "utterances",
    "frames": "frames",
    "clusters": "clusters",
    "used": "used",
    "phone purity": "phone_purity",
    "cluster purity": "cluster_purity",
    "PNMI": "pnmi",
    "PNMI of speech": "pnmi_speech",
}


def quality_table(rows: Sequence[tuple[str, str, UnitCounts]]) -> str:
    """Markdown table of (name of the units, name of the reference, counts)."""
    found = []
    for name, reference, counts in rows:
        figures = counts.figures()
        values = [figures[key] for key in COLUMNS.values()]
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
        found.append([name, reference, *cells])
    return markdown_table(("units", "phones of", *COLUMNS), found)
