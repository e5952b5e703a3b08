"""Test utterances to listen to: what was said, and what each system wrote, word under word."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.opus import encode_opus
from speechlm.score.error_rate import GAP, ErrorCounts
from speechlm.score.page import data_uri
from speechlm.score.recognition_report import Scored
from speechlm.score.sentences import SENTENCES, Sentence, read_figures, read_sentences
from speechlm.score.translation import KIND

_MARKS = (
    "<p>Each row is what a system wrote, under the words that were said: "
    '<span class="wrong">another word</span>, <span class="gap">&#8709;</span> a word that is '
    "missing, <ins>+a word</ins> that nobody said. Errors: of the words that were said.</p>"
)


def listening(
    results: Sequence[Scored], folders: Mapping[str, str | os.PathLike[str]], count: int
) -> str:
    """HTML with some utterances of the test sets, as far from each other as they can be.

    Args:
        results: of all systems and decoders, of recognition and of translation.
        folders: data directory of each test set of which some are shown.
        count: utterances in all.

    Raises:
        ValueError: a test set has no results, or none of an utterance of its data directory that
            all systems have written; scores are damaged, or audio cannot be read.
    """
    lost = sorted(folders.keys() - {result.test for result in results})
    if lost:
        raise ValueError(f"no scores of {' '.join(lost)}; the test sets of --audio need some")
    parts = []
    for number, (test, folder) in enumerate(folders.items()):
        # of all sets together `count`: of each the same number, one more of the first
        own = [result for result in results if result.test == test]
        share = count // len(folders) + (number < count % len(folders))
        parts += _of_test(test, own, DataDir.read(folder), share)
    return "\n".join(parts)


def _of_test(test: str, results: Sequence[Scored], data: DataDir, count: int) -> list[str]:
    translated = KIND in read_figures(results[0].folder)
    written = [(r.name, read_sentences(Path(r.folder, SENTENCES))) for r in results]
    names = sorted(set(data.wav).intersection(*(sentences for _, sentences in written)))
    if count and not names:
        raise ValueError(
            f"utterances of {test} expected that are in its data directory and in all of "
            f"{' '.join(str(r.folder) for r in results)}, but there are none"
        )
    parts = [] if translated else [_MARKS]
    for n in range(min(count, len(names))):
        utterance = names[n * len(names) // min(count, len(names))]
        rows = [(name, sentences[utterance]) for name, sentences in written]
        table = _sentences(rows) if translated else _aligned(rows)
        label = escape(f"{test}: {utterance}")
        sound = data_uri("audio/ogg", encode_opus(data.waveform(utterance)))
        parts.append(
            f'<h3>{label}</h3>\n<audio controls preload="metadata" aria-label="{label}" '
            f'src="{sound}"></audio>\n'
            f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'
        )
    return parts


def _sentences(rows: Sequence[tuple[str, Sentence]]) -> str:
    """A table of translations, the reference first."""
    lines = [("reference", rows[0][1].reference), *((n, s.hypothesis) for n, s in rows)]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td dir="auto">{escape(text)}</td></tr>\n'
        for name, text in lines
    )
    return f"<table>\n<tbody>\n{body}</tbody></table>"


def _aligned(rows: Sequence[tuple[str, Sentence]]) -> str:
    """A table with a column for each word that was said, and a row for each system."""
    said = rows[0][1].reference.split()
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in said)
    body = "".join(_row(name, sentence) for name, sentence in rows)
    return (
        '<table class="aligned">\n<thead><tr><th scope="col">said</th>'
        f'<th scope="col" class="number">errors</th>{head}</tr></thead>\n<tbody>\n'
        f"{body}</tbody></table>"
    )


def _row(name: str, sentence: Sentence) -> str:
    """What a system wrote; words that nobody said are in the cell of the word before them."""
    counts = ErrorCounts()
    pairs = counts.add(sentence.reference.split(), sentence.hypothesis.split())
    cells: list[str] = []
    ahead = ""  # inserted before the first word
    for reference, hypothesis in pairs:
        if reference == GAP:
            more = f' <ins><span class="unseen">inserted: </span>+{escape(hypothesis)}</ins>'
            if cells:
                cells[-1] += more
            else:
                ahead += more
        else:
            cells.append(ahead + _word(reference, hypothesis))
            ahead = ""
    cells += [ahead] if ahead else []
    words = "".join(f"<td>{cell}</td>" for cell in cells)
    errors = f'<td class="number">{counts.errors} of {counts.tokens}</td>'
    return f'<tr><th scope="row">{escape(name)}</th>{errors}{words}</tr>\n'


def _word(reference: str, hypothesis: str) -> str:
    if hypothesis == GAP:
        return (
            '<span class="gap"><span class="unseen">missing</span>'
            '<span aria-hidden="true">&#8709;</span></span>'
        )
    if hypothesis == reference:
        return f'<span class="right">{escape(hypothesis)}</span>'
    return f'<span class="wrong"><span class="unseen">wrong: </span>{escape(hypothesis)}</span>'
