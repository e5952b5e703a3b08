"""Spellings of words in characters: the lexicon of CTC decoding, read with all checks.

Three kinds of files are read, plain or .gz, told apart by their lines:

    spellings   HELLO<tab>H E L L O |    as fairseq's and flashlight's .lst, a line a spelling
    words       HELLO                    as librispeech-vocab.txt; spelled by their letters
    phones      HELLO HH AH0 L OW1       a pronouncing lexicon, of which only the words count
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechlm.data.atomic import output_file
from speechlm.data.encoding import text_lines
from speechlm.data.kaldi_dir import show_ids
from speechlm.data.language import LANGUAGE
from speechlm.data.lexicon import WORD_PHONES, is_word
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.data.whole_files import DamagedFile, damage

Spellings = dict[str, list[tuple[int, ...]]]
"""Spellings of each word: ids of `CharacterVocabulary`, the last one `word_end`."""
FLASHLIGHT_LIMIT = 6
"""Words of one spelling that flashlight's lexicon holds; it drops the others."""

_KINDS = {
    "spellings": "spellings (WORD L E T T E R S |)",
    "phones": "a pronouncing lexicon (WORD PH PH ..), of which the words alone are used",
    "words": "a list of words",
}
_SYMBOLS = CharacterVocabulary.symbols
_ID = {letter: n for n, letter in enumerate(_SYMBOLS) if len(letter) == 1}
_END = _SYMBOLS[CharacterVocabulary.word_end]
_PHONE = "ARPAbet phone" if LANGUAGE.is_english else f"phone of {LANGUAGE.source}"
_EXPECTED = (
    "expected: a line a word, or lines of WORD L E T T E R S | or of WORD PH PH .., with words and"
    f" letters of {LANGUAGE.described}, as the models write them"
)
_LISTED = 10


def read_spellings(path: str | Path) -> Spellings:
    """The words of a file and their spellings, in the order of the file; what was read is logged.

    Words in angle brackets or with `!` in front (`<s>`, `<UNK>`, `!SIL`) are no words, and are left
    out. An entry that is there twice counts once. Words of one spelling all stay.

    Raises:
        ValueError: the file is missing, damaged or without words, or it has words or spellings of
            other characters than the language's letters, or entries without a word or without
            letters. The first ones are listed with their lines.
    """
    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; a lexicon or a list of words expected")
    kind = _kind(path)
    spellings: Spellings = {}
    problems: list[str] = []
    n_wrong = n_twice = 0
    left_out = []
    for number, line in _entries(path):
        word, *units = line.split()
        if _is_no_word(word):
            left_out.append(word)
        elif problem := _problem(line, word, units, kind):
            n_wrong += 1
            if n_wrong <= _LISTED:
                problems.append(f"{path}:{number}: {problem}")
        else:
            spelling = _ids(units) if kind == "spellings" else _ids([*word, _END])
            known = spellings.setdefault(word, [])
            if spelling in known:
                n_twice += kind != "phones"  # a word's second pronunciation is no fault
            else:
                known.append(spelling)
    if problems:
        raise ValueError(_refusal(path, kind, problems, n_wrong))
    if not spellings:
        raise ValueError(f"{path}: words expected, but there is none; {_EXPECTED}")
    _log(path, kind, spellings, n_twice, left_out)
    return spellings


def write_lst(spellings: Mapping[str, Sequence[tuple[int, ...]]], path: str | Path) -> None:
    """Write `WORD<tab>L E T T E R S |`, a line a spelling, words sorted (atomically)."""
    with output_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for word in sorted(spellings):
            for ids in spellings[word]:
                file.write(f"{word}\t{' '.join(_SYMBOLS[n] for n in ids)}\n")


def _ids(letters: Sequence[str]) -> tuple[int, ...]:
    return tuple(_ID[letter] for letter in letters)


def _kind(path: str | Path) -> str:
    """The kind that most lines are of; the others are mistakes, to be listed."""
    counts = Counter(
        "words" if len(fields) == 1 else "spellings" if fields[-1] == _END else "phones"
        for fields in (line.split() for _, line in _entries(path))
        if not _is_no_word(fields[0])
    )
    return max(_KINDS, key=lambda kind: counts[kind])


def _entries(path: str | Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, without those that are blank."""
    return ((number, line) for number, line in text_lines(path) if line.strip())


def _is_no_word(word: str) -> bool:
    return word[0] == "!" or (word[0] == "<" and word[-1] == ">")


def _problem(line: str, word: str, units: Sequence[str], kind: str) -> str:
    """What is wrong with an entry; '' if nothing is."""
    if kind != "words" and line[0].isspace():
        return f"no word at the start of the line {line[:40]!r}"
    if odd := next((c for c in word if c not in _ID or c == _END), ""):
        return f"word {word!r} has the character {odd!r}{_hint(odd)}"
    if not is_word(word):
        return f"word {word!r} has no letter"
    if kind == "spellings":
        return _spelling_problem(word, units)
    if kind == "words":
        return f"one word expected, got {line.strip()[:40]!r}" if units else ""
    unknown = next((unit for unit in units if unit not in WORD_PHONES), "")
    if unknown:
        return f"word {word!r}: {unknown!r} is no {_PHONE}, and there is no {_END} at the end"
    return "" if units else f"word {word!r} has no phones"


def _spelling_problem(word: str, units: Sequence[str]) -> str:
    letters = units[:-1] if units[-1:] == [_END] else units
    if odd := next((unit for unit in letters if unit not in _ID or unit == _END), ""):
        where = "within its spelling" if odd == _END else "in its spelling"
        return f"word {word!r} has {odd!r} {where}{_hint(odd)}"
    if not any(letter.isalpha() for letter in letters):
        return f"word {word!r} is spelled without a letter"
    return "" if len(letters) < len(units) else f"word {word!r}: {_END} expected at the end"


def _hint(odd: str) -> str:
    """What can be done about a character, where that is known."""
    if odd == "\N{RIGHT SINGLE QUOTATION MARK}":
        return " (write the plain apostrophe ')"
    case = "upper" if LANGUAGE.is_english else "lower"
    cased = LANGUAGE.cased(odd)
    return f" (write it in {case} case)" if cased in _ID and odd != cased else ""


def _refusal(path: str | Path, kind: str, problems: Sequence[str], n_wrong: int) -> str:
    more = f"\n  .. {n_wrong} in all" if n_wrong > len(problems) else ""
    return (
        f"{path} was read as {_KINDS[kind]}, but {n_wrong} of its lines cannot be used:\n  "
        + "\n  ".join(problems)
        + f"{more}\n{_EXPECTED}"
    )


def _log(
    path: str | Path, kind: str, spellings: Spellings, n_twice: int, left_out: Sequence[str]
) -> None:
    count = Counter(spelling for variants in spellings.values() for spelling in variants)
    shared = {spelling: n for spelling, n in count.items() if n > 1}
    usual = sum(_ids([*word, _END]) in variants for word, variants in spellings.items())
    logging.info(
        "%s: %s; %d words, %d of them not spelled by their letters, %d spellings, of which %d are"
        " of several words",
        *(path, _KINDS[kind], len(spellings), len(spellings) - usual, len(count), len(shared)),
    )
    if left_out:
        logging.warning("%s: %d left out, no words: %s", path, len(left_out), show_ids(left_out))
    if n_twice:
        logging.warning("%s: %d entries are there twice, and count once", path, n_twice)
    many = [spelling for spelling, n in shared.items() if n > FLASHLIGHT_LIMIT]
    if many:
        texts = ["".join(_SYMBOLS[n] for n in spelling) for spelling in many]
        logging.warning(
            "%s: %d spellings are of more than %d words each, of which the search of flashlight"
            " drops all others: %s",
            *(path, len(many), FLASHLIGHT_LIMIT, show_ids(texts)),
        )
