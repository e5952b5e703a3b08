"""Word and character error rates, counted as sclite does: Corr, Sub, Del, Ins of an alignment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import kaldialign

from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import read_table, show_ids

COLUMNS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")


@dataclass
class ErrorCounts:
    """Counts over a test set; tokens are words (WER) or characters (CER)."""

    sentences: int = 0
    tokens: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    wrong_sentences: int = 0
    empty_references: int = 0

    @property
    def errors(self) -> int:
        """Sub + Del + Ins."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors for 100 tokens of the references; insertions alone make it infinite or 0."""
        return _percent(self.errors, self.tokens)

    def add(self, reference: list[str], hypothesis: list[str]) -> None:
        """Count one sentence."""
        edits = kaldialign.edit_distance(reference, hypothesis)
        self.sentences += 1
        self.tokens += len(reference)
        self.substitutions += edits["sub"]
        self.deletions += edits["del"]
        self.insertions += edits["ins"]
        self.wrong_sentences += edits["total"] > 0
        self.empty_references += not reference

    def row(self) -> list[str]:
        """The values of `COLUMNS`: two counts, then percentages with one decimal."""
        correct = self.tokens - self.substitutions - self.deletions
        parts = (correct, self.substitutions, self.deletions, self.insertions, self.errors)
        shares = [_percent(part, self.tokens) for part in parts]
        shares.append(_percent(self.wrong_sentences, self.sentences))
        return [str(self.sentences), str(self.tokens), *(f"{share:.1f}" for share in shares)]


def _percent(part: int, whole: int) -> float:
    if whole:
        return 100.0 * part / whole
    return float("inf") if part else 0.0


def error_rates(
    references: Mapping[str, str], hypotheses: Mapping[str, str]
) -> dict[str, ErrorCounts]:
    """WER and CER of hypotheses, by name.

    Characters include the space between words, as in ESPnet's tables. An empty reference counts
    no token, and every word of its hypothesis as an insertion.

    Raises:
        ValueError: utterances without hypothesis, or hypotheses of unknown utterances (named).
    """
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        parts = [
            f"{len(ids)} {what}: {show_ids(ids)}"
            for ids, what in ((missing, "without hypothesis"), (extra, "without reference"))
            if ids
        ]
        raise ValueError(f"references and hypotheses are of different ids; {'; '.join(parts)}")
    if not references:
        raise ValueError("there are no references to score against")
    words, characters = ErrorCounts(), ErrorCounts()
    for utterance in sorted(references):
        reference, hypothesis = references[utterance].split(), hypotheses[utterance].split()
        words.add(reference, hypothesis)
        characters.add(list(" ".join(reference)), list(" ".join(hypothesis)))
    return {"WER": words, "CER": characters}


def score_files(
    ref: str | os.PathLike[str], hyp: str | os.PathLike[str], output: str | os.PathLike[str]
) -> dict[str, ErrorCounts]:
    """Score a `text` file against another, and write `score.json` and `result.txt` to a folder."""
    tables = []
    for path in (ref, hyp):
        if not Path(path).is_file():
            raise ValueError(f"{path} expected, but it is not there")
        tables.append(read_table(path, empty=True))
    try:
        rates = error_rates(*tables)
    except ValueError as error:
        raise ValueError(f"{ref}, {hyp}: {error}") from None
    folder = Path(output)
    with output_file(folder / "result.txt") as path:
        lines = [" ".join(["", *COLUMNS]).strip()]
        lines += [f"{name} {' '.join(counts.row())}" for name, counts in rates.items()]
        empty = rates["WER"].empty_references
        lines.append(f"references without words: {empty}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with output_file(folder / "score.json") as path:
        values = {name: asdict(counts) for name, counts in rates.items()}
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return rates


def read_score(folder: str | os.PathLike[str]) -> dict[str, ErrorCounts]:
    """What `score_files` has left in a folder. ValueError if it is not there."""
    path = Path(folder) / "score.json"
    if not path.is_file():
        raise ValueError(f"{path} expected, but it is not there; score this decoding first")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: ErrorCounts(**counts) for name, counts in values.items()}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no scores ({error}); score again") from None
