"""Word models as transducers, joined with a lexicon to the part of a graph that all searches share.

A search graph is min(det(L o G)), words read from the units of a lexicon L and weighted by a word
model G, behind a transducer that reads a network's outputs (HMM states, CTC labels). Here are G,
the words' labels, and what becomes of L and G together; L and the front part are the caller's.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kaldifst
import kaldilm

from speechlm.lm.arpa import copy_for_words

BACK_OFF = "#0"
"""The word that back-off arcs of a grammar read; a lexicon lets it through."""


def word_symbols(words: list[str]) -> dict[str, int]:
    """Labels of the words: 1, 2, ... in sorted order; then `#0`, `<s>`, `</s>`."""
    symbols = {word: number for number, word in enumerate(sorted(words), 1)}
    for extra in (BACK_OFF, "<s>", "</s>"):
        symbols[extra] = len(symbols) + 1
    return symbols


def grammar_fst(arpa: Path, symbols: dict[str, int], folder: Path) -> kaldifst.StdVectorFst:
    """G: the word model, costs in nats; `folder/words.txt` is written on the way.

    N-grams with words that the lexicon lacks are left out, and counted; words that the model lacks
    are listed in `folder/words_without_unigram.txt`.

    Raises:
        ValueError: see `copy_for_words`.
    """
    # kaldilm ends the process where a file is damaged, and writes a line for each unknown word
    checked = folder / "lm.arpa"
    silent = copy_for_words(arpa, symbols.keys() - {BACK_OFF, "<s>", "</s>"}, checked)
    if silent:
        text = "".join(f"{word}\n" for word in silent)
        (folder / "words_without_unigram.txt").write_text(text, encoding="utf-8")
    table = folder / "words.txt"
    # words.txt: kaldilm looks up the words of the n-grams in it
    lines = ["<eps> 0"] + [f"{word} {label}" for word, label in symbols.items()]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with _without_notes():
        text = kaldilm.arpa2fst(
            str(checked),
            disambig_symbol=BACK_OFF,
            read_symbol_table=str(table),
            bos_symbol="<s>",
            eos_symbol="</s>",
        )
    checked.unlink()
    return kaldifst.compile(text, acceptor=False)


@contextmanager
def _without_notes() -> Iterator[None]:
    """A block in which a library's notes (`[I] Reading ...`) do not come to standard error."""
    # A process of its own passes on what is no note: it does so even if this one is ended by the
    # library, whose last lines say why.
    sys.stderr.flush()
    kept = os.dup(2)
    with subprocess.Popen(["grep", "-v", "^\\[I\\]"], stdin=subprocess.PIPE, stdout=kept) as notes:
        assert notes.stdin
        os.dup2(notes.stdin.fileno(), 2)
        notes.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def lexicon_and_grammar(
    lexicon: kaldifst.StdVectorFst, grammar: kaldifst.StdVectorFst
) -> kaldifst.StdVectorFst:
    """min(det(L o G)): one path for each sequence of the lexicon's inputs; both are used up."""
    kaldifst.arcsort(lexicon, "olabel")
    kaldifst.arcsort(grammar, "ilabel")
    graph = kaldifst.compose(lexicon, grammar)
    kaldifst.determinize_star(graph)
    kaldifst.minimize_encoded(graph)
    logging.info("lexicon o word model: %d states, %.1f GB", graph.num_states, peak_gigabytes())
    return graph


def in_front(front: kaldifst.StdVectorFst, graph: kaldifst.StdVectorFst) -> kaldifst.StdVectorFst:
    """The whole graph: what reads the network's outputs, o min(det(L o G))."""
    kaldifst.arcsort(front, "olabel")
    kaldifst.arcsort(graph, "ilabel")
    graph = kaldifst.compose(front, graph)
    kaldifst.connect(graph)
    return graph


def write_graph(
    graph: kaldifst.StdVectorFst, folder: Path, start: float, arpa: Path, **more: Any
) -> dict[str, Any]:
    """Write `graph.fst` (constant type: read fast) and `info.json`, with `more`, to the folder.

    Args:
        graph: the whole one.
        folder: beside the final output, for a folder that is renamed when it is whole.
        start: `time.time()` when the work began.
        arpa: the word model that it is made of, for messages.
        more: further entries of info.json.

    Raises:
        ValueError: the graph is empty.
        OSError: it cannot be written.
    """
    if graph.start < 0:
        raise ValueError(f"the graph of {arpa} is empty: does the lexicon have its words?")
    if not kaldifst.StdConstFst(graph).write(str(folder / "graph.fst")):
        raise OSError(f"{folder / 'graph.fst'} cannot be written; is the disk full?")
    arcs = sum(graph.num_arcs(s) for s in range(graph.num_states))
    info = {
        **more,
        "states": graph.num_states,
        "arcs": arcs,
        "seconds": round(time.time() - start, 1),
        "peak_gigabytes": round(peak_gigabytes(), 2),
    }
    (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n")
    logging.info("graph: %s", info)
    return info


def peak_gigabytes() -> float:
    """Most memory that this process has had (GiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
