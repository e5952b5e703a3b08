"""The folder of scores of a recognition result.

| file | holds |
|---|---|
| scores.json | all figures: error counts, oracle, OOV, the report of the search |
| result.md | the same to read, with the most frequent confusions and the worst speakers |
| sentences.tsv | reference, hypothesis and numbers of errors of each utterance |
| alignments.txt | words under words, as sclite's `pra` |
| ops.tsv | how often each word was right, taken for another, deleted, inserted, as Kaldi's `ops` |
| per_spk.tsv | error rates of each speaker, as Kaldi's `per_spk` |
| oov.tsv | words of the references that the lexicon lacks |
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechlm.data.kaldi_dir import read_table, show_ids
from speechlm.score import confusions, oracle, search_record, speakers, vocabulary
from speechlm.score.error_rate import ErrorRates, error_rates
from speechlm.score.pra import format_alignments
from speechlm.score.report import error_table
from speechlm.score.sentences import SENTENCES, Sentence, write_figures, write_sentences

ORACLE = "oracle"
OOV = "OOV"
SEARCH = "search"
"""Keys among the figures of a folder of scores, beside WER and CER."""
SOMETIMES = (speakers.SPEAKERS, vocabulary.OOV_WORDS)
"""Files that only some folders have."""
_MOST = 20  # rows of a table in result.md


@dataclass(frozen=True)
class Decoding:
    """The files of a recognition result."""

    references: str | os.PathLike[str]
    """Kaldi text; the speakers are in `utt2spk` beside it, if that is there."""
    hypotheses: str | os.PathLike[str]
    """Kaldi text."""
    nbest: str | os.PathLike[str] | None = None
    """nbest.tsv of the decoding."""
    search: str | os.PathLike[str] | None = None
    """search.json of the decoding."""
    lexicon: str | os.PathLike[str] | None = None
    """What the decoding can write: a word at the beginning of each line."""


def score_decoding(decoding: Decoding, name: str, folder: Path) -> ErrorRates:
    """Score a result and write all files into a folder.

    Args:
        decoding: what is scored.
        name: of the test set, for the tables.
        folder: an empty one.

    Raises:
        ValueError: a file is missing, damaged, or of other utterances.
    """
    references, hypotheses = (
        read_table(path, empty=True) for path in (decoding.references, decoding.hypotheses)
    )
    rates = error_rates(references, hypotheses)
    known = speakers.read_speakers(decoding.references, references)
    tables = {"WER": rates.words, "CER": rates.characters}
    figures: dict[str, Any] = {kind: vars(counts) for kind, counts in tables.items()}
    texts = [f"{kind}\n\n{error_table({name: counts})}" for kind, counts in tables.items()]

    if decoding.search is not None:
        report = search_record.read_search(decoding.search, references)
        figures[SEARCH] = vars(report)
        texts.append(search_record.search_text(report))
    if decoding.nbest is not None:
        best = oracle.read_oracle(decoding.nbest, references, hypotheses)
        figures[ORACLE] = vars(best)
        texts.append(oracle.oracle_table(best))
    if decoding.lexicon is not None:
        texts.append(_score_vocabulary(decoding.lexicon, references, figures, folder))
    counts = confusions.operations(rates)
    confusions.write_operations(counts, folder / confusions.OPERATIONS)
    texts.append(confusions.confusion_tables(counts, _MOST))
    if known is not None:
        found = speakers.speaker_errors(rates, known)
        speakers.write_speakers(found, folder / speakers.SPEAKERS)
        texts.append(speakers.speakers_table(found, _MOST))

    write_figures(folder, figures)
    (folder / "result.md").write_text("\n".join(texts), encoding="utf-8")
    alignments = format_alignments(rates, known)
    (folder / "alignments.txt").write_text(alignments, encoding="utf-8")
    _write_sentences(folder / SENTENCES, rates, references, hypotheses)
    _warn_of_references(decoding.references, references, rates)
    return rates


def _score_vocabulary(
    lexicon: str | os.PathLike[str],
    references: Mapping[str, str],
    figures: dict[str, Any],
    folder: Path,
) -> str:
    """Add OOV to the figures, write the unknown words; the text for result.md."""
    words = vocabulary.read_lexicon_words(lexicon)
    found, unknown = vocabulary.out_of_vocabulary(references.values(), words, lexicon)
    figures[OOV] = vars(found)
    vocabulary.write_unknown(unknown, folder / vocabulary.OOV_WORDS)
    if alike := vocabulary.other_case(unknown, words):
        logging.warning(
            "%d of %d words that %s lacks are in it in another case; write lexicon and references "
            "in the same",
            alike,
            found.unknown,
            lexicon,
        )
    return vocabulary.unknown_table(found, unknown, _MOST)


def _write_sentences(
    path: Path, rates: ErrorRates, references: Mapping[str, str], hypotheses: Mapping[str, str]
) -> None:
    sentences = {u: Sentence(references[u], hypotheses[u]) for u in references}
    names = ("correct", "substitutions", "deletions", "insertions")
    more = {
        name: {u: str(getattr(words, name)) for u, (words, _) in rates.single.items()}
        for name in names
    }
    write_sentences(path, sentences, more)


def _warn_of_references(
    path: str | os.PathLike[str], references: Mapping[str, str], rates: ErrorRates
) -> None:
    empty = [utterance for utterance, text in references.items() if not text]
    if empty:
        logging.warning("%s: %d empty references: %s", path, len(empty), show_ids(empty))
    otherwise = rates.only_written_otherwise()
    if otherwise:
        logging.warning(
            "%d of %d word errors are of upper and lower case or of Unicode's normal form alone",
            otherwise,
            rates.words.errors,
        )
