"""Whether a training that goes on is the one that was begun in its folder."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.schedulers.tristage_lr import TristageLR
from espnet2.schedulers.warmup_lr import WarmupLR
from espnet2.tasks.abs_task import scheduler_classes

from speechlm.checkpoints.trainer_files import has_checkpoint
from speechlm.data.yaml_file import read_yaml
from speechlm.tasks.schedulers import LinearDecayLR

NETWORK = (
    *("config_size", "model_conf", "encoder_conf", "decoder_conf", "lm_conf", "network_conf"),
    *("optim", "scheduler"),
)
"""Options that weights and states of the optimiser belong to."""
HOW = (
    *("ngpu", "num_workers", "num_threads", "multiprocessing_distributed", "max_epoch", "dry_run"),
    *("unused_parameters", "checkpoint_minutes", "local_rank"),
    *("log_level", "log_interval", "config", "output_dir", "version", "frontend", "decoder"),
)
"""Options that may change without a word, or that ESPnet changes before it writes config.yaml.

So may those of `dist_`, which say where it runs.
"""
_COMPUTED = ("fused", "foreach", "capturable")
"""Options of torch's optimisers that say how a step is computed, not what."""
_FORMULAS = (LinearDecayLR, TristageLR, WarmupLR)
"""Schedules whose rate follows from the number of the update alone."""
_POSITION = (
    *("last_epoch", "_step_count", "_last_lr", "_is_initial", "_get_lr_called_within_step"),
)
"""What of a schedule's state says where it is; the rest follows from options."""


def check_resumed(args: argparse.Namespace) -> None:
    """Compare the options of a training that goes on with those in its folder's config.yaml.

    Values that differ are logged: from here on the new ones hold.

    Raises:
        ValueError: the network or the optimiser is another; each value is named.
    """
    folder = Path(args.output_dir)
    begun = folder / "config.yaml"
    if not (args.resume and has_checkpoint(folder) and begun.is_file()):
        return
    old, new = read_yaml(begun), vars(args)
    names = [name for name in new if name in old and name not in HOW and name[:5] != "dist_"]
    changed = {name: list(_changes(name, old[name], new[name])) for name in names}
    fixed: tuple[str, ...] = NETWORK
    if args.scheduler is not None and not issubclass(scheduler_classes[args.scheduler], _FORMULAS):
        fixed += ("optim_conf", "scheduler_conf")  # the rate follows from the one before
    others = [text for name in fixed for text in changed.get(name, ())]
    if others:
        raise ValueError(
            f"{folder} has a training that was begun with another network or optimiser: "
            f"{'; '.join(others)}. Give the same values to go on with it, or another output"
        )
    for text in (text for texts in changed.values() for text in texts):
        logging.warning("%s goes on with another value than it was begun with: %s", folder, text)


def restore_optimizer(
    optimizer: torch.optim.Optimizer, schedule: Any, state: dict, schedule_state: dict | None
) -> None:
    """Load the states of an optimiser and its schedule; options that differ are this run's.

    So a training that goes on with a larger `max_epoch` has the schedule of that length from here
    on, at the update that it has reached. What differs is logged. (The states have the old values,
    too: loaded as they are, a training that goes on behind its schedule's end has rate 0.)

    Args:
        optimizer, schedule: made from this run's options; schedule None: a constant rate.
        state, schedule_state: of the checkpoint.
    """
    rate = "lr" if schedule is None else "initial_lr"
    asked = [
        {
            name: value
            for name, value in group.items()
            if name not in ("params", "lr") or name == rate
        }
        for group in optimizer.param_groups
    ]
    # A step's state lies where the step is computed: this run's device, whatever the last one's was
    groups = [
        {**old, **{name: new[name] for name in _COMPUTED if name in new}}
        for old, new in zip(state["param_groups"], asked, strict=False)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    changed: list[str] = []
    for group, new in zip(optimizer.param_groups, asked, strict=True):
        changed += (text for name in new for text in _changes(name, group.get(name), new[name]))
        group.update(new)
    if schedule is not None and schedule_state is not None:
        changed += _restore_schedule(schedule, schedule_state)
    if changed:
        text = "; ".join(dict.fromkeys(changed))
        logging.warning("the optimiser goes on with other values than it was begun with: %s", text)


def _restore_schedule(schedule: Any, state: dict) -> list[str]:
    """Load a schedule's state; options that differ stay, and are returned."""
    new = {
        name: value
        for name, value in schedule.state_dict().items()
        if name not in _POSITION and name in state
    }
    changed = [text for name in new for text in _changes(name, state[name], new[name])]
    if not changed or not isinstance(schedule, _FORMULAS):
        schedule.load_state_dict(state)
        return []
    schedule.load_state_dict({**state, **new})
    rates = schedule.get_lr()
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
    return changed


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
