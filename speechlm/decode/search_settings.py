"""What a tuning has found: `weights.json`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from speechlm.data.whole_files import read_json, reading
from speechlm.decode.ctc_search import Weights

Width = TypeVar("Width")


@dataclass(frozen=True)
class Tuned:
    """Weights, and the search that they are good for."""

    weights: Weights
    search: str
    """graph or flashlight."""
    beam: dict[str, Any] = field(default_factory=dict)
    """Fields of the search's width."""
    graph: dict[str, Any] = field(default_factory=dict)
    """Word model and number of words of the graph; empty: not known."""
    path: str = ""
    """Where they are from."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Tuned:
        """Read it.

        Raises:
            ValueError: the file is missing, damaged, or holds other values.
        """
        advice = "tune_ctc makes it"
        values = read_json(path, "weights of decoding", advice)
        with reading(path, "weights of decoding", advice):
            weights = {f.name: values[f.name] for f in dataclasses.fields(Weights)}
            beam, graph = dict(values["beam"]), dict(values.get("graph", {}))
            return cls(Weights(**weights), values["search"], beam, graph, os.fspath(path))

    def width(self, kind: Callable[..., Width]) -> Width:
        """The search's width, of the kind that the search has; what is not tuned is its default.

        Raises:
            ValueError: there are other fields, or values that it cannot have.
        """
        if not self.beam:
            return kind()
        with reading(self.path, "width of a search", "tune_ctc makes it"):
            return kind(**self.beam)
