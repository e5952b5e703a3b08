"""What a folder holds that is no trained SpeechLM, for messages."""

from __future__ import annotations

import os
from pathlib import Path

HALLMARKS = {
    "config.json": "a model in Hugging Face's format",
    "phones.txt": "a text-to-unit model",
    "kmeans.npz": "k-means",
    "network.safetensors": "the network of a phone recogniser",
    "gaussian.npz": "the Gaussians of a phone recogniser",
    "graph.fst": "a search graph",
    "spm.model": "a target vocabulary",
    "lexicon.txt": "a lexicon",
    "lm.arpa": "an n-gram",
    "search.json": "a decoding",
    "emissions.scp": "outputs of a network",
    "feats.scp": "features",
    "units.scp": "units of speech",
    "wav.scp": "a data directory",
    "checkpoint.pth": "a training of another kind, or one that is not finished",
}
"""A file -> what a folder is that has it; the first that is there decides."""
_SHOWN = 5  # names in a message


def contents(folder: str | os.PathLike[str]) -> str:
    """What is there, for a message that says what is not."""
    path = Path(folder)
    if not path.is_dir():
        return "a file" if path.is_file() else "no such folder on this machine"
    for name, what in HALLMARKS.items():
        if (path / name).is_file():
            return f"{what} ({name})"
    names = sorted(entry.name for entry in path.iterdir() if entry.name[0] != ".")
    models = [name for name in names if (path / name / "config.yaml").is_file()]
    if models:
        return f"folders of trainings, {_some(models)}"
    checkpoints = [name for name in names if name.endswith(".pt")]
    if checkpoints:
        return f"{_some(checkpoints)} (import_checkpoint makes a model folder of a checkpoint)"
    return _some(names) if names else "nothing"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
