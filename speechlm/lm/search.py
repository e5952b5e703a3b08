"""Beam search through a graph: a matrix of scores to words.

Shared by the phone recogniser (one step = 30 ms, columns = context classes) and CTC decoding (one
step = a frame of the model, columns = characters). The search itself is kaldi-decoder's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np

from speechlm.data.whole_files import reading
from speechlm.lm.graph_arrays import GraphArrays

_MOST = 2**31 - 1  # kaldi-decoder counts with 32 bits


@dataclass(frozen=True)
class Beam:
    """How wide a search is.

    Raises:
        ValueError: values that kaldi-decoder ends the process for, or that find nothing.
    """

    beam: float = 10.0
    """Cost (nats, after scaling) by which a path may be behind the best one."""
    max_active: int = 500
    """Most states a step."""
    min_active: int = 20
    """States that are kept in any case, as far as `max_active` allows."""

    def __post_init__(self) -> None:
        if not self.beam > 0:
            raise ValueError(f"beam is {self.beam}; a number above 0 expected")
        counts = (self.min_active, self.max_active)
        whole = all(isinstance(count, int) for count in counts)
        if not whole or counts[0] < 0 or not 2 <= counts[1] <= _MOST:
            raise ValueError(
                f"max_active is {self.max_active} and min_active {self.min_active}; whole numbers,"
                f" 0 <= min_active and 2 <= max_active <= {_MOST} expected"
            )

    @property
    def least(self) -> int:
        """`min_active`, but less than `max_active`: kaldi-decoder ends the process otherwise."""
        return min(self.min_active, self.max_active - 1)


class GraphSearch:
    """A search graph in memory: scores to words."""

    def __init__(self, graph: Path) -> None:
        # first the arrays: for the graph memory is taken, whatever number of states it names
        self.arrays = GraphArrays.read(graph / "graph.fst")
        self.fst = _read_graph(graph / "graph.fst")
        self.word_of = read_word_labels(graph / "words.txt")

    def decode(self, scores: np.ndarray, beam: Beam) -> tuple[list[str], bool]:
        """(U, n) scaled log-scores -> words, and whether a final state was reached.

        Without a final state the words are those of the best unfinished path.
        """
        if not len(scores):
            return [], False
        options = kaldi_decoder.FasterDecoderOptions(
            beam=beam.beam, max_active=beam.max_active, min_active=beam.least
        )
        decoder = kaldi_decoder.FasterDecoder(self.fst, options)
        decoder.decode(kaldi_decoder.DecodableCtc(np.ascontiguousarray(scores, dtype=np.float32)))
        complete = decoder.reached_final()
        ok, path = decoder.get_best_path(use_final_probs=complete)
        if not ok:
            return [], False
        words = kaldifst.get_linear_symbol_sequence(path)[2]
        return [self.word_of[label] for label in words], complete


def read_word_labels(path: Path) -> dict[int, str]:
    """`words.txt` of a graph: WORD LABEL lines -> word by label.

    Raises:
        ValueError: the file is missing or damaged.
    """
    with reading(path, "words by label", "make_graph or make_ctc_graph makes it"):
        lines = path.read_text(encoding="utf-8").split("\n")
        pairs = (line.rsplit(" ", 1) for line in lines if line)
        return {int(label): word for word, label in pairs}


def _read_graph(path: Path) -> kaldifst.StdConstFst:
    with reading(path, "search graph", "make_graph or make_ctc_graph makes it"):
        graph = kaldifst.StdConstFst.read(str(path))
        if graph is None:
            raise ValueError("no transducer is in it")
    return graph
