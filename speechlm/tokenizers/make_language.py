"""The file of a recipe's language: letters and phones that occur in its transcripts and text."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.atomic import write_text
from speechlm.data.encoding import text_lines
from speechlm.data.language import APOSTROPHE, check_spaces, language_problem
from speechlm.data.lexicon import Phones, pronunciations
from speechlm.data.report import Refused
from speechlm.data.text_corpus import id_columns
from speechlm.data.written import base_language
from speechlm.tokenizers.espeak import Espeak, fit

MOST_LETTERS = 400
"""A text of more different letters is in a script of syllables or words."""
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True)
class LanguageOptions:
    """What is taken for a letter, and for a phone, of the language."""

    letter_share: float = 5e-5
    """Rarer letters (share of all) are foreign: sentences with them are left out."""
    phone_count: int = 3
    """Phones that transcripts have less often give way to simpler ones, see `espeak.fit`."""

    def __post_init__(self) -> None:
        if not 0 <= self.letter_share < 0.1 or self.phone_count < 1:
            raise ValueError(
                f"letter_share of 0 to 0.1 and phone_count of at least 1 expected, got "
                f"{self.letter_share} and {self.phone_count}"
            )


@dataclass
class LanguageReport:
    """What was found, and what is left out."""

    letters: Counter[str] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    """Letters that are too rare."""
    phones: Counter[str] = field(default_factory=Counter)
    simplified: Counter[str] = field(default_factory=Counter)
    """Phones that give way to simpler ones, or take their words with them."""
    unspoken: Counter[str] = field(default_factory=Counter)
    """Words of transcripts without a pronunciation."""

    def summary(self) -> str:
        """One line."""
        return (
            f"{len(self.letters)} letters, {len(self.phones)} phones; too rare: "
            f"{len(self.foreign)} letters, {len(self.simplified)} phones; "
            f"{len(self.unspoken)} words of transcripts without a pronunciation"
        )

    def write(self, path: str | os.PathLike[str], refused: str = "") -> None:
        """The summary and all that is left out, with counts; a refusal stands first."""
        lines = [f"# refused: {line}" for line in refused.splitlines()]
        lines.append(self.summary())
        for name in ("letters", "foreign", "phones", "simplified", "unspoken"):
            listed = " ".join(f"{what} {n}" for what, n in getattr(self, name).most_common())
            lines.append(f"{name}: {listed or '-'}")
        write_text(path, "".join(f"{line}\n" for line in lines))


def make_language(
    code: str,
    texts: Sequence[str | Path],
    output: str | Path,
    options: LanguageOptions,
    lexicon: str | Path | None = None,
) -> LanguageReport:
    """Write the file of a language (`language.read_language`).

    Letters are those of all texts, phones those of the transcripts (files named `text`): what no
    transcript has, the recogniser could not learn.

    Args:
        code: of the language.
        texts: normalised; at least one of them transcripts.
        output: file to write.
        options: what is too rare.
        lexicon: `WORD PHONE ..` lines, which are asked before espeak-ng.

    Raises:
        ValueError: the language, or the script, is written without spaces, has too many letters,
            or espeak-ng does not know it.
        Refused: no word of the transcripts can be pronounced, or names of phones, or letters,
            cannot be used.
    """
    check_spaces(code)
    if base_language(code) == "en":
        raise ValueError(
            f"--language {code}: English is built in, with LibriSpeech's letters and ARPAbet, and "
            "needs no file; recipes have it without --lang (--lang en)"
        )
    report = LanguageReport()
    transcripts = [path for path in texts if id_columns(Path(path))]
    if not transcripts:
        raise ValueError(
            f"transcripts (a file named text) expected among {' '.join(map(str, texts))}"
        )
    counts = Counter[str]()
    for path in texts:
        counts.update(_letters(path))
    _check_script(counts, code)
    least = options.letter_share * counts.total()
    for letter, n in counts.most_common():
        (report.letters if n >= least else report.foreign)[letter] = n
    words = _words(transcripts, set(report.letters) | {APOSTROPHE})
    phones = _inventory(code, words, options, report, lexicon)
    if not phones:
        raise Refused(f"no word of {' '.join(map(str, transcripts))} can be pronounced", report)
    letters = "".join(letter for letter, _ in report.letters.most_common())
    if problem := language_problem(code, letters, phones):
        names = f"; rename those of {lexicon}" if lexicon else ""
        raise Refused(f"--language {code}: {problem}{names}", report)
    values = {"language": code, "letters": letters, "phones": phones}
    write_text(output, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    return report


def _letters(path: str | Path) -> Counter[str]:
    """Characters of a text's words: letters, marks, apostrophes and other joiners."""
    counts: Counter[str] = Counter()
    columns = id_columns(Path(path))
    for _, line in text_lines(path):
        for word in line.split()[columns:]:
            counts.update(word)
    return counts


def _check_script(counts: Counter[str], code: str) -> None:
    """Refuse texts that are not in an alphabet, or have no spaces, whatever the code says."""
    if not counts:
        raise ValueError(f"--language {code}: the texts have no letters")
    spaceless = sum(n for c, n in counts.items() if unicodedata.name(c, "").startswith(_SPACELESS))
    if spaceless > 0.1 * counts.total():
        raise ValueError(
            f"--language {code}: {spaceless / counts.total():.0%} of the letters are of a script "
            "without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan); "
            "everything here is made of words"
        )
    if len(counts) > MOST_LETTERS:
        raise ValueError(
            f"--language {code}: {len(counts)} different letters, and at most {MOST_LETTERS} are"
            " meant: scripts of syllables (Korean, Ethiopic) would need units smaller than these"
        )


def _words(paths: Iterable[str | Path], letters: set[str]) -> Counter[str]:
    """Words of transcripts that are made of letters of the language."""
    words: Counter[str] = Counter()
    for path in paths:
        columns = id_columns(Path(path))
        for _, line in text_lines(path):
            words.update(word for word in line.split()[columns:] if set(word) <= letters)
    return words


def _inventory(
    code: str,
    words: Counter[str],
    options: LanguageOptions,
    report: LanguageReport,
    lexicon: str | Path | None,
) -> list[str]:
    """Phones that occur often enough in words, which are counted; sorted."""
    given = _given(lexicon)
    missing = [word for word in words if word not in given]
    said = dict(zip(missing, Espeak(code)(missing) if missing else [], strict=True))
    said.update({word: given[word] for word in words if word in given})
    counts: Counter[str] = Counter()
    for word, phones in said.items():
        for phone in phones:
            counts[phone] += words[word]
    known = {phone for phone, n in counts.items() if n >= options.phone_count}
    report.simplified = Counter({p: n for p, n in counts.items() if p not in known})
    for word, phones in said.items():
        fitting = fit(phones, known)
        for phone in fitting:
            report.phones[phone] += words[word]
        if not fitting:
            report.unspoken[word] = words[word]
    return sorted(report.phones)


def _given(path: str | Path | None) -> dict[str, Phones]:
    """First pronunciations of a lexicon, whose phones are not checked yet."""
    found: dict[str, Phones] = {}
    for _, word, phones in pronunciations(path) if path else ():
        if phones:
            found.setdefault(word, phones)
    return found
