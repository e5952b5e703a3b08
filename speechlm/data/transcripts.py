"""Tables of transcripts, `ID WORDS` a line, and how they go together with recordings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from speechlm.data.kaldi_dir import show_ids
from speechlm.data.names import safe_id, spaced
from speechlm.data.report import Report, tidy_lines


def read_transcripts(
    path: Path, text: dict[str, str | None], report: Report, long_names: Mapping[str, str] = {}
) -> None:
    """Add the `ID WORDS` lines of a file to a table, and what is wrong with them to a report.

    An id with two different transcripts gets None, and one whose line is no UTF-8 text.

    Args:
        path: the file.
        text: the table, by id (`names.safe_id`).
        report: takes what is wrong.
        long_names: ids of names with several words (`names.spaced`), which lines may begin with.
    """
    most = max((len(name.split()) for name in long_names), default=1)

    def id_and_words(line: str) -> tuple[str, list[str]]:
        words = line.split()
        for count in range(min(most, len(words)), 1, -1):
            utterance = long_names.get(spaced(" ".join(words[:count])))
            if utterance is not None:
                return utterance, words[count:]
        return safe_id(words[0]), words[1:]

    def spoiled(number: int, raw: bytes) -> str:
        utterance, _ = id_and_words(raw.decode("utf-8", "replace"))
        text[utterance] = None
        return utterance

    ids = []
    for _, line in tidy_lines(path, report, spoiled):
        utterance, words = id_and_words(line)
        ids.append(utterance)
        transcript = " ".join(words)
        if utterance not in text:
            text[utterance] = transcript
        elif text[utterance] == transcript:
            report.fix("repeated line", utterance, path)
        else:
            report.leave_out("two different transcripts", utterance, path)
            text[utterance] = None
    if ids != sorted(ids):
        report.sort("table of transcripts", path)


def match_transcripts(
    wav: dict[str, str], text: dict[str, str | None], report: Report
) -> dict[str, str]:
    """Remove from both tables what is not in the other; the report says what.

    Args:
        wav: paths of recordings by id.
        text: transcripts by id; None where there are two.
        report: takes what is left out.

    Returns:
        The transcripts that have audio.
    """
    for utterance in sorted(wav.keys() - text.keys()):
        report.leave_out("no transcript", utterance, wav.pop(utterance))
    for utterance in sorted(text.keys() - wav.keys()):
        words = text.pop(utterance) or ""
        report.leave_out("transcript without audio", utterance, "", words[:60])
    for utterance in sorted(u for u, words in text.items() if words is None):
        del wav[utterance], text[utterance]
    return {utterance: words for utterance, words in text.items() if words is not None}


def unmatched(report: Report) -> str:
    """What `match_transcripts` has noted, by examples of both sides: why their ids differ."""
    sides = []
    for kind, side in (
        ("no transcript", "recordings"),
        ("transcript without audio", "transcripts"),
    ):
        ids = [item.utterance for item in report.items if item.kind == kind]
        if ids:
            sides.append(f"ids of {side}: {show_ids(ids)}")
    return "; ".join(sides)
