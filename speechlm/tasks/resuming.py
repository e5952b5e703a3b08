"""Whether a training that goes on is the one that was begun in its folder."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from speechlm.checkpoints.trainer_files import CHECKPOINT
from speechlm.data.yaml_file import read_yaml

NETWORK = ("config_size", "model_conf", "encoder_conf", "decoder_conf", "optim", "scheduler")
"""Options that weights and states of the optimiser belong to."""
HOW = (
    *("ngpu", "num_workers", "num_threads", "multiprocessing_distributed", "max_epoch", "dry_run"),
    *("log_level", "log_interval", "config", "output_dir", "version", "frontend", "decoder"),
)
"""Options that may change without a word, or that ESPnet changes before it writes config.yaml.

So may those of `dist_`, which say where it runs.
"""


def check_resumed(args: argparse.Namespace) -> None:
    """Compare the options of a training that goes on with those in its folder's config.yaml.

    Values that differ are logged: from here on the new ones hold.

    Raises:
        ValueError: the network or the optimiser is another; each value is named.
    """
    folder = Path(args.output_dir)
    begun = folder / "config.yaml"
    if not (args.resume and (folder / CHECKPOINT).is_file() and begun.is_file()):
        return
    old, new = read_yaml(begun), vars(args)
    names = [name for name in new if name in old and name not in HOW and name[:5] != "dist_"]
    changed = {name: list(_changes(name, old[name], new[name])) for name in names}
    others = [text for name in NETWORK for text in changed.get(name, ())]
    if others:
        raise ValueError(
            f"{folder} has a training that was begun with another network or optimiser: "
            f"{'; '.join(others)}. Give the same values to go on with it, or another output"
        )
    for text in (text for texts in changed.values() for text in texts):
        logging.warning("%s goes on with another value than it was begun with: %s", folder, text)


def _changes(name: str, old: Any, new: Any) -> Iterator[str]:
    """`name: old value, now new value` of all that differ; keys that only `old` has are left out.

    ESPnet's file has values that follow from others, such as the length of a schedule.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in new:
            yield from _changes(f"{name}.{key}", old.get(key), new[key])
    elif _plain(old) != _plain(new):
        yield f"{name}: {str(old)[:80]}, now {str(new)[:80]}"


def _plain(value: Any) -> str:
    """The same text for tuples and lists, paths and strings."""
    return json.dumps(value, default=str)
