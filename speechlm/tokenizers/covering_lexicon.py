"""A lexicon that covers every word of given texts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.data.atomic import output_dir, write_text
from speechlm.data.encoding import text_lines
from speechlm.data.language import LANGUAGE
from speechlm.data.lexicon import Lexicon, Phones, is_word, pronunciations, report_problems
from speechlm.data.text_corpus import id_columns
from speechlm.tokenizers.espeak import Espeak, fit
from speechlm.tokenizers.g2p import GUESSES, Pronouncer


def count_words(paths: Iterable[str | Path]) -> Counter[str]:
    """Occurrences of each word in texts: plain ones, and Kaldi transcripts.

    A file named `text` is a Kaldi transcript, whose first column is the utterance-id. Texts are
    streamed: only the different words are held in memory.

    Raises:
        ValueError: words with characters other than the language's letters; they are listed with
            their places; or as `text_lines`.
    """
    total: Counter[str] = Counter()
    problems = []
    for path in map(Path, paths):
        skip = id_columns(path)
        counts: Counter[str] = Counter()
        for _, line in text_lines(path):
            counts.update(line.split()[skip:])
        bad = {word for word in counts if not is_word(word)}
        if bad:
            problems += _places(path, skip, bad)
        if not counts:
            problems.append(f"{path}: no words")
        total += counts
    advice = f"normalise the text first ({LANGUAGE.described}; spaces)"
    report_problems(problems, f"texts with unusable words; {advice}")
    return total


def _places(path: Path, skip: int, words: set[str]) -> list[str]:
    """`file:line: word` of the first occurrence of each word."""
    places = []
    words = set(words)
    for number, line in text_lines(path):
        for word in words.intersection(line.split()[skip:]):
            places.append(f"{path}:{number}: {word!r}")
            words.remove(word)
        if not words:
            break
    return places


def choose_words(paths: Iterable[str | Path], most: int = 0) -> list[str]:
    """Words of texts (see `count_words`), the most frequent first, ties in alphabetical order.

    Args:
        paths: the texts.
        most: no more than so many words, except that Kaldi transcripts lose none; 0: all.

    Raises:
        ValueError: `most` is negative, or as `count_words`.
    """
    if most < 0:
        raise ValueError(f"{most} words at most: expected a positive number, or 0 for all")
    paths = [Path(path) for path in paths]
    counts = count_words(paths)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    if 0 < most < len(words):
        always = set(count_words(path for path in paths if id_columns(path)))
        room = max(0, most - len(always))
        others = [word for word in words if word not in always][:room]
        keep = always.union(others)
        words = [word for word in words if word in keep]
    return words


@dataclass
class CoveringLexicon:
    """A lexicon with every word of some texts, and how those in no dictionary were found."""

    lexicon: Lexicon
    predicted: dict[str, str] = field(default_factory=dict)
    """Word -> method, for words that no dictionary has."""
    sources: Counter[str] = field(default_factory=Counter)
    """Number of words by where their pronunciation is from."""
    unspoken: list[str] = field(default_factory=list)
    """Words that are left out, as nothing says how they sound."""

    @property
    def known(self) -> Lexicon:
        """The words whose pronunciation was not guessed, but found or derived from known words."""
        guessed = {word for word, how in self.predicted.items() if how.startswith(GUESSES)}
        entries = {w: p for w, p in self.lexicon.entries.items() if w not in guessed}
        return Lexicon(entries, "the known words")

    def write(self, folder: str | Path) -> None:
        """Write `lexicon.txt`, `words.txt`, `known.txt`, `predicted.txt`; `unspoken.txt` if any.

        `predicted.txt` has word, method and phones in a row. `known.txt` is the lexicon without the
        words that were guessed: to train a recogniser, which makes a model of noise from the
        others.
        """
        with output_dir(folder) as temporary:
            self.lexicon.write(temporary / "lexicon.txt")
            self.known.write(temporary / "known.txt")
            words = sorted(self.lexicon)
            write_text(temporary / "words.txt", "".join(f"{w}\n" for w in words))
            rows = (
                f"{word} {self.predicted[word]} {' '.join(self.lexicon.entries[word][0])}\n"
                for word in sorted(self.predicted)
            )
            write_text(temporary / "predicted.txt", "".join(rows))
            if self.unspoken:
                write_text(temporary / "unspoken.txt", "".join(f"{w}\n" for w in self.unspoken))


def read_given(path: str | Path) -> Lexicon:
    """Read a lexicon that is to be asked first.

    In other languages than English its phones become those of the language's file (`espeak.fit`);
    what has other letters or phones is left out and said, as transcripts do not teach it.

    Raises:
        ValueError: it is damaged, or none of it can be used; in English: see `Lexicon.read`.
    """
    if LANGUAGE.is_english:
        return Lexicon.read(path)
    known, entries, lost = frozenset(LANGUAGE.phones), dict[str, list[Phones]](), list[str]()
    for _, word, phones in pronunciations(path):
        fitting = fit(phones, known) if is_word(word) else ()
        if not fitting:
            lost.append(word)
        elif fitting not in entries.setdefault(word, []):
            entries[word].append(fitting)
    if not entries:
        raise ValueError(
            f"{path}: lines of WORD PHONE PHONE .. expected, but in none are letters and phones "
            f"those of {LANGUAGE.source} ({' '.join(LANGUAGE.phones)})"
        )
    if lost:
        logging.warning(
            "%s: %d pronunciations have letters or phones that %s has not, and are not used: %s",
            *(path, len(lost), LANGUAGE.source, " ".join(lost[:20])),
        )
    return Lexicon(entries, str(path))


def cover(words: Iterable[str], given: Lexicon | None = None) -> CoveringLexicon:
    """Pronounce every word: from `given` if it is there, else from CMUdict, else predicted.

    In other languages than English espeak-ng says what `given` has not; words that it says by rules
    of a third language, or with phones that the language's file has not, are left out.
    """
    if not LANGUAGE.is_english:
        return _cover_by_espeak(list(dict.fromkeys(words)), given)
    cmudict = Lexicon.cmudict()
    known = {**cmudict.entries, **(given.entries if given else {})}
    entries: dict[str, list[Phones]] = {}
    sources: Counter[str] = Counter()
    missing = []
    for word in dict.fromkeys(words):
        if word not in known:
            missing.append(word)
            continue
        entries[word] = list(known[word])
        sources[given.source if given and word in given else cmudict.source] += 1
    predicted = {}
    for word, (phones, method) in zip(missing, Pronouncer(known)(missing), strict=True):
        entries[word] = [phones]
        predicted[word] = method
        sources[method] += 1
    return CoveringLexicon(Lexicon(entries, "the made lexicon"), predicted, sources)


def _cover_by_espeak(words: Sequence[str], given: Lexicon | None) -> CoveringLexicon:
    made = CoveringLexicon(Lexicon({}, "the made lexicon"))
    known = given.entries if given else {}
    missing = [word for word in words if word not in known]
    said = dict(zip(missing, Espeak(LANGUAGE.code)(missing) if missing else [], strict=True))
    phones = frozenset(LANGUAGE.phones)
    for word in words:
        if word in known:
            made.lexicon.entries[word] = list(known[word])
            made.sources[given.source if given else ""] += 1
        elif fitting := fit(said[word], phones):
            made.lexicon.entries[word] = [fitting]
            made.predicted[word] = "espeak-ng"
            made.sources["espeak-ng"] += 1
        else:
            made.unspoken.append(word)
            made.sources["left out (unspoken.txt)"] += 1
    if not made.lexicon.entries:
        raise ValueError(f"none of {len(words)} words can be said by espeak-ng ({LANGUAGE.code})")
    return made
