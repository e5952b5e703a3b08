"""Scores of several systems, of recognition and of translation, as the sections of one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speechlm.data.kaldi_dir import show_ids
from speechlm.score.kept import Kept
from speechlm.score.markdown import escape
from speechlm.score.recognition_report import Scored, recognition_sections
from speechlm.score.sentences import SENTENCES, read_figures, read_sentences
from speechlm.score.translation import KIND, read_translation_scores, translation_table


def sections(
    results: Sequence[Scored],
    n_samples: int,
    resamples: int,
    seed: int,
    kept: Sequence[Kept] = (),
    baseline: str = "",
) -> tuple[str, dict[str, str]]:
    """Tables of all results, and the report's sections by heading.

    Args:
        results: of recognition, of translation, or of both.
        n_samples: translations of each test set to show.
        resamples: of intervals and tests of recognition.
        seed: of these.
        kept: results of recognition of other runs, which are marked as such.
        baseline: system of recognition that the others are compared with, too.

    Raises:
        ValueError: a folder has no scores, or damaged ones; there are two results of a system
            and decoder on a test set; results of a test set are of different utterances; or there
            are kept results, but none of recognition.
    """
    count = Counter((result.name, result.test) for result in results)
    twice = [f"{name}:{test}" for (name, test), n in count.items() if n > 1]
    if twice:
        raise ValueError(
            f"one result of a system on a test set expected, more of {show_ids(twice)}"
        )
    translated = [r for r in results if KIND in read_figures(r.folder)]
    recognised = [r for r in results if r not in translated]
    if kept and not recognised:
        raise ValueError("kept results are of recognition, but no folder of --scores is")
    parts = []
    if recognised:
        parts.append(recognition_sections(recognised, resamples, seed, kept, baseline))
    parts += [_translation(translated, n_samples)] if translated else []
    tables, texts = zip(*parts, strict=True)
    return "\n".join(tables), {name: text for part in texts for name, text in part.items()}


def _translation(results: Sequence[Scored], n_samples: int) -> tuple[str, dict[str, str]]:
    rows = {f"{r.name}/{r.test}": read_translation_scores(r.folder) for r in results}
    table = translation_table(rows)
    found = {"Translation": "BLEU and chrF, detokenised.\n\n" + table}
    shown: dict[tuple[str, str], list[str]] = {}
    for result in results:
        sentences = read_sentences(Path(result.folder, SENTENCES))
        names = sorted(sentences)
        n_shown = min(n_samples, len(names))
        for i in range(n_shown):  # as far from each other as they can be
            utterance = names[i * len(names) // n_shown]
            known = sentences[utterance]
            lines = shown.setdefault(
                (result.test, utterance), [f"reference: {escape(known.reference)}"]
            )
            lines.append(f"{escape(result.system)}: {escape(known.hypothesis)}")
    samples = [
        f"{escape(f'{t} {u}')}\n\n" + "\n".join(f"- {x}" for x in shown[t, u]) for t, u in shown
    ]
    if samples:
        found["Samples"] = "\n\n".join(samples)
    return table, found
