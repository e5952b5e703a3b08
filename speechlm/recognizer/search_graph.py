"""The search graph: HMM o context classes o lexicon o word model, as one cached transducer.

Input labels are class + 1 (one arc a 30 ms step), output labels words. Phones carry word position
and stress, so the tree of contexts.py can tell them apart.
"""

from __future__ import annotations

import json
import logging
import resource
import time
from pathlib import Path

import kaldifst
import kaldilm
import numpy as np

from speechlm.data.arpa import copy_for_words
from speechlm.data.atomic import output_dir
from speechlm.recognizer.contexts import base_of_class
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.topology import BASE_OF_PHONE, SILENCE_ID, UNKNOWN
from speechlm.recognizer.utterance_graph import NO_PAUSE, PAUSE, VARIANT, Pronunciations

DISAMBIGUATION = 1000
"""Label of `#0`; `#k` follows it."""
LOOP_SCALE = 0.3
"""Weight of the transition probabilities beside the scaled acoustic scores."""


def word_symbols(words: list[str]) -> dict[str, int]:
    """Labels of the words: 1, 2, ... in sorted order; then `#0`, `<s>`, `</s>`."""
    symbols = {word: number for number, word in enumerate(sorted(words), 1)}
    for extra in ("#0", "<s>", "</s>"):
        symbols[extra] = len(symbols) + 1
    return symbols


def _disambiguated(pronunciations: Pronunciations) -> list[tuple[str, int, tuple[int, ...], int]]:
    """(word, rank, phones, k) with `#k` (0: none) such that no entry is another's prefix."""
    # Words of the same phones, and words that begin another, cannot be told apart by phones alone,
    # and such a lexicon cannot be determinised: the n-th word of these phones gets the mark #n
    # behind.
    entries = [(w, r, p) for w in sorted(pronunciations) for r, p in enumerate(pronunciations[w])]
    count: dict[tuple[int, ...], int] = {}
    prefixes: set[tuple[int, ...]] = set()
    for _, _, phones in entries:
        count[phones] = count.get(phones, 0) + 1
        prefixes.update(phones[:n] for n in range(1, len(phones)))
    used: dict[tuple[int, ...], int] = {}
    out = []
    for word, rank, phones in entries:
        number = 0
        if count[phones] > 1 or phones in prefixes:
            number = used[phones] = used.get(phones, 0) + 1
        out.append((word, rank, phones, number))
    return out


def lexicon_fst(pronunciations: Pronunciations, symbols: dict[str, int]):
    """Phones to words, with optional silence between words.

    Returns:
        The transducer, and the number of disambiguation symbols (`#0` included).
    """
    # input : output / cost, k the mark of silence, eps no label; the costs are negative logarithms:
    #
    #   start --- eps:eps / no pause ----> loop <---- PH:eps / no pause ---- o <--- PH:WORD --- loop
    #     |                                ^  (#0:#0, final)                 |
    #     | eps:eps / pause                | #k:eps                          | PH:eps / pause
    #     v                                |                                 v
    #   silence ------- SIL:eps -------> after                            silence
    #
    # #0 is the word model's back-off arc; a variant costs more on its word's first arc.
    entries = _disambiguated(pronunciations)
    silence_mark = max(number for *_, number in entries) + 1
    no_pause, pause, variant = -NO_PAUSE, -PAUSE, -VARIANT
    start, loop, silence, after = 0, 1, 2, 3
    lines = [
        f"{start} {loop} 0 0 {no_pause:.4f}",
        f"{start} {silence} 0 0 {pause:.4f}",
        f"{silence} {after} {SILENCE_ID} 0 0",
        f"{after} {loop} {DISAMBIGUATION + silence_mark} 0 0",
        f"{loop} {loop} {DISAMBIGUATION} {symbols['#0']} 0",
    ]
    free = 4
    for word, rank, phones, number in entries:
        labels = [*phones, DISAMBIGUATION + number] if number else list(phones)
        here, output, weight = loop, symbols[word], variant if rank else 0.0
        # a chain of new states; the last label leads to `loop`, and with a pause to `silence`
        for label in labels[:-1]:
            lines.append(f"{here} {free} {label} {output} {weight:.4f}")
            here, output, weight, free = free, 0, 0.0, free + 1
        for target, cost in ((loop, no_pause), (silence, pause)):
            lines.append(f"{here} {target} {labels[-1]} {output} {weight + cost:.4f}")
    lines.append(f"{loop} 0")
    fst = kaldifst.compile("\n".join(lines) + "\n", acceptor=False)
    return fst, silence_mark + 1


def context_fst(classes: ClassTable, n_disambiguation: int):
    """Class labels (one a step) to phones: one state per class, remembering its base phone."""
    table, bases = classes.table, base_of_class(classes.table)
    phones = np.flatnonzero(BASE_OF_PHONE >= 0)
    n_classes = classes.n_classes
    # A state is the class that was entered last. Input is class + 1 at every step, output phones:
    #
    #   left --- c + 1 : phone / leave(left) ---> c      a phone begins: c = table[left base, phone]
    #   c ------ c + 1 : eps / stay(c) ---------> c      it lasts one step more
    #   c ------ eps : #k ----------------------> c      a mark of the lexicon passes
    #
    # The first line is the context dependency, the second the HMM.
    begin = n_classes
    lines = []
    for state in [begin, *range(n_classes)]:
        left = BASE_OF_PHONE[SILENCE_ID] if state == begin else bases[state]
        leave = 0.0 if state == begin else -LOOP_SCALE * classes.stay[state, 1]
        for phone in phones:
            target = table[left, phone]
            lines.append(f"{state} {target} {target + 1} {phone} {leave:.4f}")
        for number in range(n_disambiguation):
            lines.append(f"{state} {state} 0 {DISAMBIGUATION + number} 0")
        if state != begin:
            stay = -LOOP_SCALE * classes.stay[state, 0]
            lines.append(f"{state} {state} {state + 1} 0 {stay:.4f}")
            lines.append(f"{state} {leave:.4f}")
    return kaldifst.compile("\n".join(lines) + "\n", acceptor=False)


def grammar_fst(arpa: Path, symbols: dict[str, int], folder: Path):
    """The word model; n-grams with words that the lexicon lacks are left out, and counted."""
    # kaldilm ends the process where a file is damaged, and writes a line for each unknown word
    checked = folder / "lm.arpa"
    copy_for_words(arpa, symbols.keys() - {"#0"}, checked)
    table = folder / "words.txt"
    # words.txt: kaldilm looks up the words of the n-grams in it
    lines = ["<eps> 0"] + [f"{word} {label}" for word, label in symbols.items()]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = kaldilm.arpa2fst(
        str(checked),
        disambig_symbol="#0",
        read_symbol_table=str(table),
        bos_symbol="<s>",
        eos_symbol="</s>",
    )
    checked.unlink()
    return kaldifst.compile(text, acceptor=False)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compose_graph(pronunciations: Pronunciations, arpa: Path, classes: ClassTable, folder: Path):
    """The whole graph, as a vector transducer; `words.txt` is written to `folder`.

    The word `UNKNOWN`, which is noise, is in it if the network knows noise: with the word model's
    probability of unknown words.
    """
    if not classes.knows_noise:
        pronunciations = {w: p for w, p in pronunciations.items() if w != UNKNOWN}
    # G: words to words, weighted by the n-grams (kaldilm: back-off arcs have #0 as input)
    symbols = word_symbols(list(pronunciations))
    grammar = grammar_fst(arpa, symbols, folder)
    # L: phones to words
    lexicon, n_disambiguation = lexicon_fst(pronunciations, symbols)
    kaldifst.arcsort(lexicon, "olabel")
    kaldifst.arcsort(grammar, "ilabel")
    # min(det(L o G)): one path for each sequence of phones and marks
    graph = kaldifst.compose(lexicon, grammar)
    del lexicon, grammar
    kaldifst.determinize_star(graph)
    kaldifst.minimize_encoded(graph)
    logging.info("lexicon o word model: %d states, %.1f GB", graph.num_states, _memory())
    # HC o min(det(L o G)): the marks meet the loops of HC, which have no input, and disappear
    context = context_fst(classes, n_disambiguation)
    kaldifst.arcsort(context, "olabel")
    kaldifst.arcsort(graph, "ilabel")
    graph = kaldifst.compose(context, graph)
    kaldifst.connect(graph)
    return graph


def make_graph(
    pronunciations: Pronunciations, arpa: Path, classes: ClassTable, output: Path
) -> None:
    """Build and write `graph.fst` (constant type: read fast), `words.txt`, `info.json`.

    Raises:
        ValueError: no ARPA file or a damaged one, or an empty graph.
    """
    start = time.time()
    with output_dir(output, ("search.json",)) as folder:
        graph = compose_graph(pronunciations, arpa, classes, folder)
        if graph.start < 0:
            raise ValueError(f"the graph of {arpa} is empty: does the lexicon have its words?")
        constant = kaldifst.StdConstFst(graph)
        if not constant.write(str(folder / "graph.fst")):
            raise OSError(f"{output / 'graph.fst'} cannot be written; is the disk full?")
        arcs = sum(graph.num_arcs(s) for s in range(graph.num_states))
        info = {
            "words": len(pronunciations),
            "noise": UNKNOWN in pronunciations and classes.knows_noise,
            "states": graph.num_states,
            "arcs": arcs,
            "seconds": round(time.time() - start, 1),
            "peak_gigabytes": round(_memory(), 2),
        }
        (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n")
    logging.info("graph: %s", info)
