"""Search graphs as arrays, read from the files of OpenFst's constant type.

S states of the graph, A arcs of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.whole_files import reading

_SYMBOLS = 3  # flags: names of the labels come first
_ALIGNED = 4
_STATE = np.dtype([("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("_", "<u4", 2)])
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("cost", "<f4"), ("target", "<i4")])


@dataclass(frozen=True)
class GraphArrays:
    """A search graph as arrays, read from its file as needed."""

    start: int
    states: np.ndarray
    """(S,) of `final`, `first` arc, number of `arcs`."""
    arcs: np.ndarray
    """(A,) of `input`, `output`, `cost`, `target`."""

    @classmethod
    def read(cls, path: Path) -> GraphArrays:
        """The arrays of `graph.fst`, OpenFst's constant type; they stay on the disk.

        Raises:
            ValueError: the file is damaged, or of another type.
        """
        with reading(path, "search graph", "make_graph or make_ctc_graph makes it"):
            head = np.fromfile(path, np.uint8, 256)
            # magic number, type of transducer and of arc (each a length and letters), version and
            # flags (int32), properties, start, number of states, number of arcs (int64)
            at, names = 4, []
            for _ in range(2):
                length = int(head[at : at + 4].view("<i4")[0])
                names.append(head[at + 4 : at + 4 + length].tobytes())
                at += 4 + length
            if names != [b"const", b"standard"]:
                raise ValueError(f"a constant transducer expected, found {names}")
            flags = int(head[at + 4 : at + 8].view("<i4")[0])
            if flags & _SYMBOLS:
                raise ValueError("a transducer with names of its labels")
            _, start, n_states, n_arcs = head[at + 8 : at + 40].copy().view("<i8").tolist()
            at = _aligned(at + 40, flags)
            states = np.memmap(path, _STATE, "r", at, (n_states,))
            at = _aligned(at + states.nbytes, flags)
            arcs = np.memmap(path, _ARC, "r", at, (n_arcs,))
            graph = cls(start, np.asarray(states), np.asarray(arcs))
            graph.check()
            return graph

    def check(self) -> None:
        """Make sure that all arcs and states lie inside: no search looks whether they do.

        Raises:
            ValueError: some do not.
        """
        states, arcs, targets = self.states, self.arcs, self.arcs["target"]
        ends = states["first"].astype(np.int64) + states["arcs"]
        inside = 0 <= self.start < len(states) and ends.max(initial=0) <= len(arcs)
        if not (inside and targets.min(initial=0) >= 0 and targets.max(initial=0) < len(states)):
            raise ValueError("an arc or a state lies outside of it")


def _aligned(at: int, flags: int) -> int:
    return -(-at // 16) * 16 if flags & _ALIGNED else at
