"""BLEU and chrF of translations, as sacreBLEU computes them (Post 2018; Popovic 2015).

Scores are of detokenised sentences, with case and punctuation unless the style says otherwise. In
the style `moses` the references are normalised, as the targets of the training were; translations
are scored as they were decoded.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from importlib.metadata import version

from sacrebleu.metrics import BLEU, CHRF

from speechlm.data.target_text import write_as
from speechlm.score.error_rate import check_same_utterances
from speechlm.score.markdown import markdown_table
from speechlm.score.sentences import Sentence, read_counts, write_figures

KIND = "translation"
"""Key of the scores among the figures of a folder."""
SCORED = {
    "cased": "as they are",
    "lower": "both sides in lower case, without punctuation",
    "moses": "references with punctuation normalised by Moses' rules, translations as decoded",
}
"""What is compared, by style (`target_text.write_as`)."""
COLUMNS = ("Snt", "BLEU", "chrF", "BP", "hyp/ref words", "1/2/3/4-gram precision")


@dataclasses.dataclass
class TranslationScores:
    """Scores of one test set."""

    sentences: int
    bleu: float
    chrf: float
    precisions: list[float]
    """Of 1- to 4-grams, in percent."""
    brevity_penalty: float
    hypothesis_words: int
    reference_words: int
    empty_hypotheses: int
    style: str
    """How sentences were written before scoring, one of SCORED."""
    tokenizer: str
    """sacreBLEU's, for BLEU."""
    bleu_signature: str
    chrf_signature: str


def bleu_metric(language: str, tokenizer: str | None = None) -> BLEU:
    """sacreBLEU's BLEU; tokenizer None: 13a, or sacreBLEU's own of Chinese, Japanese, Korean.

    Raises:
        ValueError: the tokenizer does not exist or its package is not installed.
    """
    if tokenizer is not None and tokenizer not in BLEU.TOKENIZERS:
        names = " ".join(sorted(BLEU.TOKENIZERS))
        raise ValueError(f"sacreBLEU has no tokenizer {tokenizer!r}; it has {names}")
    try:
        return BLEU(tokenize=tokenizer, trg_lang=language.split("-")[0].lower(), force=True)
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"sacreBLEU's tokenizer for {language} cannot be used ({error}); install its package, "
            "or score with --tokenizer char"
        ) from None


def translation_scores(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    language: str,
    style: str = "cased",
    tokenizer: str | None = None,
) -> tuple[TranslationScores, dict[str, Sentence], dict[str, str]]:
    """Scores, the sentences as they were scored, and chrF of each sentence.

    Raises:
        ValueError: the two have different utterances (they are named), there is none, or all
            references are empty.
    """
    check_same_utterances(references, hypotheses)
    decoded = "cased" if style == "moses" else style
    sentences = {
        u: Sentence(
            write_as(references[u], style, language), write_as(hypotheses[u], decoded, language)
        )
        for u in sorted(references)
    }
    if not any(sentence.reference for sentence in sentences.values()):
        raise ValueError(f"all {len(sentences)} references are empty in the style {style}")
    written = [sentence.hypothesis for sentence in sentences.values()]
    expected = [sentence.reference for sentence in sentences.values()]
    metric, chrf = bleu_metric(language, tokenizer), CHRF()
    bleu, characters = (m.corpus_score(written, [expected]) for m in (metric, chrf))
    signatures = [f"{m.get_signature()}{_references(style, language)}" for m in (metric, chrf)]
    scores = TranslationScores(
        sentences=len(sentences),
        bleu=bleu.score,
        chrf=characters.score,
        precisions=list(bleu.precisions),
        brevity_penalty=bleu.bp,
        hypothesis_words=bleu.sys_len,
        reference_words=bleu.ref_len,
        empty_hypotheses=sum(not text for text in written),
        style=style,
        tokenizer=metric.tokenizer.signature(),
        bleu_signature=signatures[0],
        chrf_signature=signatures[1],
    )
    single = {
        u: f"{chrf.sentence_score(s.hypothesis, [s.reference]).score:.1f}"
        for u, s in sentences.items()
    }
    return scores, sentences, single


def _references(style: str, language: str) -> str:
    """How the references were normalised, which sacreBLEU cannot know, to end its signature."""
    return f"|refs:moses-{language}|sacremoses:{version('sacremoses')}" if style == "moses" else ""


def save_translation_scores(scores: TranslationScores, folder: str | os.PathLike[str]) -> None:
    """Write the scores into a folder, to be read by `read_translation_scores`."""
    write_figures(folder, {KIND: dataclasses.asdict(scores)})


def read_translation_scores(folder: str | os.PathLike[str]) -> TranslationScores:
    """What `save_translation_scores` wrote.

    Raises:
        ValueError: it is not there or damaged.
    """
    return read_counts(folder, KIND, TranslationScores)


def translation_table(rows: Mapping[str, TranslationScores]) -> str:
    """A Markdown table, one row a result; the signatures below it."""
    found = []
    for name, s in rows.items():
        cells = [name, str(s.sentences), f"{s.bleu:.2f}", f"{s.chrf:.1f}"]
        cells += [f"{s.brevity_penalty:.3f}", f"{s.hypothesis_words}/{s.reference_words}"]
        cells.append("/".join(f"{p:.1f}" for p in s.precisions))
        found.append(cells)
    signatures = {
        f"{s.style} ({SCORED[s.style]}): `{s.bleu_signature}`, `{s.chrf_signature}`"
        for s in rows.values()
    }
    table = markdown_table(("dataset", *COLUMNS), found)
    return "\n".join([table, *sorted(signatures)]) + "\n"
