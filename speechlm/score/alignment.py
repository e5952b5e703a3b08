"""Frame labels against reference TextGrids: frames, boundaries, phone errors.

Everything is folded to the language's phones, in English the 39 of CMU, and silence (stress and
word position dropped; `sil`, `sp`, `spn`, `SPN` and the empty label are all silence). Reference
times lie on a grid of 10 ms. Label `i` comes from the 25 ms window that begins at `10 i` ms; the
window's middle, `10 i + 12.5` ms, is in the reference's cell from `10 (i + 1)` to `10 (i + 2)` ms,
and that is the cell it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import kaldialign
import numpy as np
from numpy.typing import ArrayLike

from speechlm.data.archives import ArchiveReader
from speechlm.data.language import LANGUAGE
from speechlm.data.vocabulary import PHONES
from speechlm.score.markdown import markdown_table
from speechlm.score.textgrid import find_textgrids, read_intervals

SHIFT = 0.01
CENTRE = 0.0125
EDGE = 0.01
CLOSE = 0.02
SILENCES = ("", "SIL", "SP", "SPN", "<EPS>")


@dataclass
class Segment:
    """One phone: start and end in seconds, folded name."""

    start: float
    end: float
    phone: str


def fold(phone: str) -> str:
    """`AH0_B` -> `AH`; every kind of silence -> `SIL`."""
    name = phone.split("_")[0].rstrip("012")
    if name.upper() in SILENCES:
        return "SIL"
    return name.upper() if LANGUAGE.is_english else name  # case tells phones of the IPA apart


def read_textgrid(path: Path | str, tier: str = "phones") -> list[Segment]:
    """Segments of one interval tier of a TextGrid, folded.

    Raises:
        ValueError: as `textgrid.read_intervals`.
    """
    return [Segment(i.start, i.end, fold(i.label.strip())) for i in read_intervals(path, tier)]


def frames_of(segments: Sequence[Segment], n_frames: int) -> np.ndarray:
    """Folded phone at the middle of each frame's window; silence after the last segment."""
    # Each frame gets the first segment that ends after its window's middle (times in ms):
    #
    #   cells    0         10        20        30        40
    #            |---------|---------|---------|---------|
    #   frame 0  [-----------x------------]                x: the middle, in cell 10 .. 20
    #   frame 1            [-----------x------------]
    ends = np.array([s.end for s in segments])
    index = np.searchsorted(ends, np.arange(n_frames) * SHIFT + CENTRE, side="right")
    names = np.array([s.phone for s in segments] + ["SIL"])
    return names[np.minimum(index, len(segments))]


def segments_of(labels: ArrayLike, symbols: Sequence[str] = PHONES) -> list[Segment]:
    """Runs of equal output phones (before folding, so that `Z_E Z_B` stays two phones)."""
    ids = np.asarray(labels)
    # Labels a .. b - 1 fill the cells from 10 (a + 1) to 10 (b + 1) ms.
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    ends = np.append(starts[1:], len(ids))
    return [
        Segment(a * SHIFT + EDGE, b * SHIFT + EDGE, fold(symbols[ids[a]]))
        for a, b in zip(starts, ends, strict=True)
    ]


def _spoken(segments: Sequence[Segment]) -> list[Segment]:
    return [s for s in segments if s.phone != "SIL"]


def boundary_errors(reference: Sequence[Segment], found: Sequence[Segment]) -> list[float]:
    """Distances (seconds) of the boundaries of phones that both sides have.

    Phones are matched by edit distance (silence left out). A matched phone gives its start, and
    its end too if silence follows in the reference (else the next phone's start says the same).
    """
    ref, hyp = _spoken(reference), _spoken(found)
    # matched phones, and `*` for one that the other side lacks; i and j count along
    pairs = kaldialign.align([s.phone for s in ref], [s.phone for s in hyp], "*")
    followed_by_silence = {
        id(a)
        for a, b in zip(reference, [*reference[1:], None], strict=True)
        if b is None or b.phone == "SIL"
    }
    errors, i, j = [], 0, 0
    for a, b in pairs:
        if a == b:
            errors.append(abs(ref[i].start - hyp[j].start))
            if id(ref[i]) in followed_by_silence:
                errors.append(abs(ref[i].end - hyp[j].end))
        i += a != "*"
        j += b != "*"
    return errors


@dataclass
class Report:
    """Sums over utterances; see `figures`."""

    utterances: int = 0
    frames: int = 0
    right: int = 0
    speech_frames: int = 0
    speech_right: int = 0
    errors: list[float] = field(default_factory=list)
    phones: int = 0
    substituted: int = 0
    inserted: int = 0
    deleted: int = 0

    def add(self, reference: Sequence[Segment], labels: np.ndarray) -> None:
        """Score one utterance: reference segments against output-phone ids at 10 ms."""
        found = segments_of(labels)
        truth = frames_of(reference, len(labels))
        guess = frames_of(found, len(labels))
        same, speech = truth == guess, truth != "SIL"
        self.utterances += 1
        self.frames += len(labels)
        self.right += int(same.sum())
        self.speech_frames += int(speech.sum())
        self.speech_right += int((same & speech).sum())
        self.errors += boundary_errors(reference, found)
        ref = [s.phone for s in _spoken(reference)]
        counts = kaldialign.edit_distance(ref, [s.phone for s in _spoken(found)])
        self.phones += len(ref)
        self.substituted += counts["sub"]
        self.inserted += counts["ins"]
        self.deleted += counts["del"]

    def figures(self) -> dict[str, float]:
        """Percentages and milliseconds.

        Raises:
            ValueError: nothing was scored.
        """
        if not self.frames or not self.phones:
            raise ValueError("no utterance with both labels and a reference TextGrid")
        errors = np.array(self.errors) if self.errors else np.array([np.nan])
        wrong = self.substituted + self.inserted + self.deleted
        return {
            "utterances": self.utterances,
            "frames": self.frames,
            "frame_agreement": 100.0 * self.right / self.frames,
            "speech_frame_agreement": 100.0 * self.speech_right / max(self.speech_frames, 1),
            "boundary_median_ms": 1000.0 * float(np.median(errors)),
            "boundary_within_20_ms": 100.0 * float((errors <= CLOSE + 1e-6).mean()),
            "phone_error_rate": 100.0 * wrong / self.phones,
            "substitutions": self.substituted,
            "insertions": self.inserted,
            "deletions": self.deleted,
            "reference_phones": self.phones,
        }


def report_units(units: Path, textgrids: Path) -> dict[str, float]:
    """Figures of the unit archive `units` against `ID.TextGrid` files.

    Raises:
        ValueError: no TextGrid belongs to any utterance, or one is damaged.
    """
    references = find_textgrids(textgrids)
    labels = ArchiveReader(units / "units.scp")
    common = sorted(set(labels) & set(references))
    if not common:
        raise ValueError(
            f"{textgrids}: {len(references)} TextGrids, but none of the {len(labels)} utterances "
            f"of {units}"
        )
    report = Report()
    for utterance in common:
        report.add(read_textgrid(references[utterance]), labels[utterance])
    return report.figures()


COLUMNS = {
    "utterances": "utterances",
    "frames right (%)": "frame_agreement",
    "of speech (%)": "speech_frame_agreement",
    "boundaries within 20 ms (%)": "boundary_within_20_ms",
    "median boundary error (ms)": "boundary_median_ms",
    "phone error rate (%)": "phone_error_rate",
}


def figures_table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown table of named `Report.figures`."""
    keys = list(COLUMNS.values())[1:]
    found = [
        (name, str(figures["utterances"]), *(f"{figures[key]:.1f}" for key in keys))
        for name, figures in rows.items()
    ]
    return markdown_table(("labels", *COLUMNS), found)
