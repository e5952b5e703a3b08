"""Error rates of each speaker, in the columns of sclite's and Kaldi's tables."""

from __future__ import annotations

import os
import statistics
from collections.abc import Collection, Mapping
from pathlib import Path

from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.score.error_rate import ErrorCounts, ErrorRates
from speechlm.score.markdown import markdown_table

SPEAKERS = "per_spk.tsv"
"""Name of the table inside a folder of scores."""
_COLUMNS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err", "CER")

SpeakerErrors = dict[str, tuple[ErrorCounts, ErrorCounts]]
"""Words and characters of each speaker."""


def read_speakers(
    references: str | os.PathLike[str], utterances: Collection[str]
) -> dict[str, str] | None:
    """Speakers by utterance, of the data directory that the references lie in.

    Args:
        references: Kaldi text; `utt2spk` beside it has the speakers.
        utterances: those that are scored.

    Returns:
        None where there is no `utt2spk`.

    Raises:
        ValueError: it is damaged, or utterances have no speaker (they are named).
    """
    path = Path(references).parent / "utt2spk"
    if not path.is_file():
        return None
    known = read_table(path)
    missing = sorted(set(utterances) - known.keys())
    if missing:
        raise ValueError(
            f"{path}: a speaker for each utterance of {references} expected, none for "
            f"{len(missing)}: {show_ids(missing)}; complete it, or score references that lie in "
            "another folder"
        )
    return {utterance: known[utterance] for utterance in utterances}


def speaker_errors(rates: ErrorRates, speakers: Mapping[str, str]) -> SpeakerErrors:
    """Sum the errors of each speaker; speakers in sorted order."""
    found = {name: (ErrorCounts(), ErrorCounts()) for name in sorted(set(speakers.values()))}
    for utterance, counts in rates.single.items():
        for total, part in zip(found[speakers[utterance]], counts, strict=True):
            total.merge(part)
    return found


def write_speakers(found: SpeakerErrors, path: str | os.PathLike[str]) -> None:
    """Write one line a speaker: counts of sentences and words, then percents, tabs between."""
    lines = ["\t".join(("speaker", *_COLUMNS))]
    lines += ["\t".join(row) for row in (_row(name, *counts) for name, counts in found.items())]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def speakers_table(found: SpeakerErrors, most: int) -> str:
    """Markdown: the speakers of the highest error rates, and figures over all speakers.

    Mean, standard deviation and median are over speakers, whatever the number of their words, as
    sclite has them; speakers without a word in their references are not among them.

    Args:
        found: of `speaker_errors`.
        most: speakers to show.
    """
    spoken = {name: counts for name, counts in found.items() if counts[0].tokens}
    worst = sorted(spoken, key=lambda name: (-spoken[name][0].rate, name))[:most]
    table = markdown_table(("speaker", *_COLUMNS), [_row(n, *spoken[n]) for n in worst])
    wer = [words.rate for words, _ in spoken.values()]
    cer = [letters.rate for _, letters in spoken.values()]
    figures = markdown_table(
        ("", "mean", "S.D.", "median", "lowest", "highest"),
        [(kind, *_spread(rates)) for kind, rates in (("WER", wer), ("CER", cer))],
    )
    left_out = len(found) - len(spoken)
    without = f", {left_out} more without a word in the references" if left_out else ""
    head = f"Speakers ({len(spoken)}{without})"
    shown = f"those of the highest WER (all: {SPEAKERS})"
    return f"{head}\n\n{figures}\n{shown}\n\n{table}"


def _row(name: str, words: ErrorCounts, letters: ErrorCounts) -> tuple[str, ...]:
    cells = (f"{v:.1f}" if isinstance(v, float) else str(v) for v in words.row())
    return (name, *cells, f"{letters.rate:.1f}")


def _spread(rates: list[float]) -> tuple[str, ...]:
    """Mean, standard deviation, median, lowest, highest of at least one rate."""
    deviation = f"{statistics.stdev(rates):.1f}" if len(rates) > 1 else "-"
    middle = statistics.median(rates)
    return (
        f"{statistics.fmean(rates):.1f}",
        deviation,
        *(f"{value:.1f}" for value in (middle, min(rates), max(rates))),
    )
