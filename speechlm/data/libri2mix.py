"""Libri2Mix (Cosentino et al. 2020), for diarization: two speakers at once, `max` mode, 16 kHz.

    ROOT/wav16k/max/{train-100,dev,test}/mix_both/A-B-N_C-D-M.wav     (or mix_clean)
    ROOT/rttm/{train100,dev,test}.rttm                                who speaks when

The RTTM files are those that LibriMix's own recipe for diarization makes from aligned words. Where
there are none, turns are found by the energy of the sources s1 and s2, which is noted.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.audio import read_audio
from speechlm.data.folders import files_below, part_folders
from speechlm.data.report import Report
from speechlm.data.task_data import DEV, TEST, TRAIN, Collector, TaskData
from speechlm.data.whole_files import read_lines

PARTS = {TRAIN: "train-100", DEV: "dev", TEST: "test"}
MIXES = ("mix_both", "mix_clean")
SPEAKERS = 2
_CELL = SAMPLE_RATE // 100  # of the energy, 10 ms
_BELOW, _PAUSE = 35.0, 30  # dB under the loudest cell; cells of a pause that does not end a turn

Turn = tuple[str, float, float]
"""Speaker, start and end in seconds."""


def read_libri2mix(corpus: str | os.PathLike[str]) -> tuple[TaskData, Report]:
    """Read the corpus; a label are its turns, `SPEAKER:START:END` with seconds.

    Raises:
        ValueError: a folder is not there.
    """
    report = Report()
    found, root = Collector(report), Path(corpus)
    folders = part_folders(root / "wav16k" / "max", [*PARTS.values()], "Libri2Mix")
    for group, folder in zip(PARTS, folders, strict=True):
        mixes = [folder / name for name in MIXES if (folder / name).is_dir()]
        if not mixes:
            raise ValueError(f"Libri2Mix: a folder {' or '.join(MIXES)} expected in {folder}")
        truth = read_rttm(root / "rttm" / f"{PARTS[group].replace('-', '')}.rttm")
        if not truth:
            report.note("turns by energy", PARTS[group], root / "rttm", "no RTTM file is there")
        for path in (p for p in files_below(mixes[0]) if p.suffix.lower() in (".wav", ".flac")):
            turns = truth.get(path.stem) if truth else _turns_of_sources(path)
            if not turns:
                report.leave_out("no turns", path.stem, path)
            elif len({who for who, _, _ in turns}) != SPEAKERS:
                report.leave_out("other than two speakers", path.stem, path)
            else:
                found.add("mix", path.stem, path, group, write_turns(turns))
    return found.finish(), report


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """{recording: turns} of lines `SPEAKER RECORDING 1 START SECONDS ... NAME ...`.

    Raises:
        ValueError: a line of this kind is too short, or has no times from 0 on.
    """
    turns: dict[str, list[Turn]] = {}
    if not path.is_file():
        return turns
    for number, line in enumerate(read_lines(path, "turns"), 1):
        words = line.split()
        if words[:1] != ["SPEAKER"]:
            continue
        try:
            start, seconds, who = float(words[3]), float(words[4]), words[7]
            if not (math.isfinite(start + seconds) and start >= 0 and seconds >= 0):
                raise ValueError
        except (IndexError, ValueError):
            raise ValueError(
                f"{path}:{number}: `SPEAKER RECORDING 1 START SECONDS <NA> <NA> NAME` expected, "
                f"got {line[:100]!r}"
            ) from None
        turns.setdefault(words[1], []).append((who, start, start + seconds))
    return turns


def write_turns(turns: list[Turn]) -> str:
    """`SPEAKER:START:END ...`, in order of time."""
    ordered = sorted(turns, key=lambda turn: (turn[1], turn[0]))
    return " ".join(f"{who.replace(':', '_')}:{a:.3f}:{b:.3f}" for who, a, b in ordered)


def parse_turns(label: str) -> list[Turn]:
    """What `write_turns` wrote.

    Raises:
        ValueError: it is of another form.
    """
    turns = []
    for word in label.split():
        parts = word.split(":")
        if len(parts) != 3:
            raise ValueError(f"SPEAKER:START:END expected, got {word!r}")
        turns.append((parts[0], float(parts[1]), float(parts[2])))
    return turns


def _turns_of_sources(mix: Path) -> list[Turn]:
    """Turns of both sources by their energy; none where a source is not there."""
    turns: list[Turn] = []
    names = mix.stem.split("_")
    for number in range(SPEAKERS):
        source = mix.parent.parent / f"s{number + 1}" / mix.name
        if len(names) != SPEAKERS or not source.is_file():
            return []
        who = names[number].split("-")[0]
        turns += [(who, a, b) for a, b in _loud(read_audio(source))]
    return turns


def _loud(samples: np.ndarray) -> list[tuple[float, float]]:
    """Intervals (seconds) in which a source without noise is heard, short pauses within them."""
    cells = samples[: len(samples) // _CELL * _CELL].reshape(-1, _CELL)
    power = 10 * np.log10(np.mean(np.square(cells), 1) + 1e-12)  # dB
    loud = np.flatnonzero(power > power.max(initial=-120.0) - _BELOW)
    if not len(loud):
        return []
    # A turn ends where the next loud cell is more than a pause away.
    ends = np.flatnonzero(np.diff(loud) > _PAUSE)
    firsts, lasts = loud[np.r_[0, ends + 1]], loud[np.r_[ends, len(loud) - 1]]
    return [(a / 100, (b + 1) / 100) for a, b in zip(firsts, lasts, strict=True)]
