"""What a tuning has found: `weights.json`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from speechlm.data.whole_files import read_json, reading
from speechlm.decode.ctc_search import Weights


@dataclass(frozen=True)
class Tuned:
    """Weights, and the search that they are good for."""

    weights: Weights
    search: str
    """graph or flashlight."""
    beam: dict[str, Any] = field(default_factory=dict)
    """Fields of the search's width."""

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
            return cls(Weights(**weights), values["search"], dict(values["beam"]))
