"""The search graph: HMM o context classes o lexicon o word model, as one cached transducer.

Input labels are class + 1 (one arc a 30 ms step), output labels words. Phones carry word position
and stress, so the tree of contexts.py can tell them apart.
"""

from __future__ import annotations

import time
from itertools import takewhile
from pathlib import Path

import kaldifst
import numpy as np

from speechlm.data.atomic import output_dir
from speechlm.data.whole_files import read_json, reading
from speechlm.lm.arpa import read_arpa
from speechlm.lm.grammar import (
    BACK_OFF,
    grammar_fst,
    in_front,
    lexicon_and_grammar,
    word_symbols,
    write_graph,
)
from speechlm.recognizer.contexts import base_of_class
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.topology import BASE_OF_PHONE, NOISE_ID, SILENCE_ID, UNKNOWN
from speechlm.recognizer.utterance_graph import NO_PAUSE, PAUSE, VARIANT, Pronunciations

DISAMBIGUATION = 1000
"""Label of `#0`; `#k` follows it."""
LOOP_SCALE = 0.3
"""Weight of the transition probabilities beside the scaled acoustic scores."""


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
        f"{loop} {loop} {DISAMBIGUATION} {symbols[BACK_OFF]} 0",
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
    # The first line is the context dependency, the second the HMM. The first step of noise has an
    # input of its own, n_classes + 1, so that a search can weigh how often there is noise.
    begin, noise_begins = n_classes, n_classes + 1
    lines = []
    for state in [begin, *range(n_classes)]:
        left = BASE_OF_PHONE[SILENCE_ID] if state == begin else bases[state]
        leave = 0.0 if state == begin else -LOOP_SCALE * classes.stay[state, 1]
        for phone in phones:
            target = table[left, phone]
            label = noise_begins if phone == NOISE_ID else target + 1
            lines.append(f"{state} {target} {label} {phone} {leave:.4f}")
        for number in range(n_disambiguation):
            lines.append(f"{state} {state} 0 {DISAMBIGUATION + number} 0")
        if state != begin:
            stay = -LOOP_SCALE * classes.stay[state, 0]
            lines.append(f"{state} {state} {state + 1} 0 {stay:.4f}")
            lines.append(f"{state} {leave:.4f}")
    return kaldifst.compile("\n".join(lines) + "\n", acceptor=False)


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
    # HC o min(det(L o G)): the marks meet the loops of HC, which have no input, and disappear
    graph = lexicon_and_grammar(lexicon, grammar)
    return in_front(context_fst(classes, n_disambiguation), graph)


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
        noise = UNKNOWN in pronunciations and classes.knows_noise
        unknown = unknown_of(arpa) if noise else None
        write_graph(graph, folder, start, arpa, words=len(pronunciations), log10_unknown=unknown)


def unknown_of(arpa: Path) -> float | None:
    """log10 P(`<unk>`) of a word model; None if it has no such word.

    Raises:
        ValueError: as `read_arpa`.
    """
    unigrams = takewhile(lambda ngram: ngram[0] == 1, read_arpa(arpa))
    return next((float(line.split()[0]) for _, word, line in unigrams if word == [UNKNOWN]), None)


def read_unknown(info: Path) -> float | None:
    """What `unknown_of` gave for a graph with noise, from its `info.json`; None: it has no noise.

    Raises:
        ValueError: the file is missing, damaged, or another version's.
    """
    advice = "make_graph makes it"
    values = read_json(info, "description of a search graph", advice)
    with reading(info, "description of a search graph", advice):
        unknown = values["log10_unknown"]
        return None if unknown is None else float(unknown)
