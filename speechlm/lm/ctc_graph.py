"""The decoding graph of CTC: T o min(det(L o G)), from a network's characters to words.

Input labels are column + 1 of the scores. G is a word model (`speechlm.lm.grammar`), L spells its
words in characters, each with `|` at its end, T is CTC's rule of repeats and blanks. The first
frame of a `|` has an input label of its own, so that a score a word can be added to that column
when it is decoded: weights of the word model, of words and of blanks all act on the scores
(`speechlm.decode.ctc_search`), and one graph serves all of them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import kaldifst

from speechlm.data.atomic import output_dir
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.lm.arpa import copy_unpacked
from speechlm.lm.grammar import (
    BACK_OFF,
    grammar_fst,
    in_front,
    lexicon_and_grammar,
    word_symbols,
    write_graph,
)
from speechlm.lm.spellings import Spellings, write_lst

WORD_START = CharacterVocabulary.n_ids
"""Column of the scores for the first frame of a `|`; the character's own is for its repeats."""
N_COLUMNS = CharacterVocabulary.n_ids + 1
"""Columns of the scores that the graph reads."""
ARPA_COPY, LEXICON_COPY = "lm.arpa", "lexicon.lst"
"""What the graph is made of, in its folder: rescoring and the second search read them."""
_MARKS = 1000
"""Label of `#0`; `#k` follows it."""


def spelling_fst(
    spellings: Spellings, symbols: Mapping[str, int]
) -> tuple[kaldifst.StdVectorFst, int]:
    """L: characters (id + 1) to words.

    Returns:
        The transducer, and the number of disambiguation symbols (`#0` included).
    """
    # Every spelling ends with `|`, so that none begins another one; only words of the same
    # spelling cannot be told apart. The n-th of them has the mark #n behind it:
    #
    #   loop --- C1 : WORD ---> o --- C2 : eps ---> ... --- | : eps ---> (o --- #n : eps --->) loop
    #   loop --- #0 : #0 ---> loop        the word model's back-off arc passes
    count: dict[tuple[int, ...], int] = {}
    for entries in spellings.values():
        for entry in entries:
            count[entry] = count.get(entry, 0) + 1
    used: dict[tuple[int, ...], int] = {}
    lines, free, loop = [f"0 0 {_MARKS} {symbols[BACK_OFF]}"], 1, 0
    for word in sorted(spellings):
        for entry in spellings[word]:
            labels = [character + 1 for character in entry]
            if count[entry] > 1:
                used[entry] = used.get(entry, 0) + 1
                labels.append(_MARKS + used[entry])
            here, output = loop, symbols[word]
            for label in labels[:-1]:
                lines.append(f"{here} {free} {label} {output}")
                here, output, free = free, 0, free + 1
            lines.append(f"{here} {loop} {labels[-1]} {output}")
    lines.append("0")
    fst = kaldifst.compile("\n".join(lines) + "\n", acceptor=False)
    return fst, 1 + max(used.values(), default=0)


def ctc_topology(n_disambiguation: int) -> kaldifst.StdVectorFst:
    """T: columns of the scores (+ 1), one a frame, to characters (id + 1)."""
    # A state is the last frame's character, or blank (state 0, the start). Input : output,
    # first(c) = c + 1, but WORD_START + 1 for `|`:
    #
    #   any ---- blank : eps ----> blank
    #   c ------ c + 1 : eps ----> c               the character lasts one frame more
    #   other -- first(c) : c + 1 -> c             it begins; behind itself only after a blank
    #   any ---- eps : #k -------> the same        a mark of the lexicon passes
    vocabulary = CharacterVocabulary
    blank = vocabulary.blank
    characters = [vocabulary.word_end + n for n in range(len(vocabulary.characters))]
    state = {character: number for number, character in enumerate(characters, 1)}
    lines = []
    for source in [blank, *characters]:
        here = state.get(source, 0)
        lines.append(f"{here} 0 {blank + 1} 0")
        if source != blank:
            lines.append(f"{here} {here} {source + 1} 0")
        for target in characters:
            if target != source:
                first = WORD_START if target == vocabulary.word_end else target
                lines.append(f"{here} {state[target]} {first + 1} {target + 1}")
        for number in range(n_disambiguation):
            lines.append(f"{here} {here} 0 {_MARKS + number}")
        lines.append(f"{here}")
    return kaldifst.compile("\n".join(lines) + "\n", acceptor=False)


def make_ctc_graph(spellings: Spellings, arpa: Path, output: Path) -> None:
    """Build a decoding graph and write its folder.

    It holds `graph.fst`, `words.txt`, `info.json`, and what it is made of: `lexicon.lst` (as
    flashlight and fairseq read it) and `lm.arpa`.

    Args:
        spellings: ids of `CharacterVocabulary` of each word, with `|` at the end.
        arpa: the word model.
        output: the folder.

    Raises:
        ValueError: no ARPA file, a damaged one, one of other words, or an empty lexicon.
    """
    if not spellings:
        raise ValueError("a lexicon of at least one word expected")
    start = time.time()
    with output_dir(output) as folder:
        symbols = word_symbols(list(spellings))
        grammar = grammar_fst(arpa, symbols, folder)
        lexicon, n_disambiguation = spelling_fst(spellings, symbols)
        graph = lexicon_and_grammar(lexicon, grammar)
        graph = in_front(ctc_topology(n_disambiguation), graph)
        write_lst(spellings, folder / LEXICON_COPY)
        copy_unpacked(arpa, folder / ARPA_COPY)
        model = {"lm": str(arpa), "sha256": file_hash(arpa)}
        write_graph(graph, folder, start, arpa, words=len(spellings), **model)


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
