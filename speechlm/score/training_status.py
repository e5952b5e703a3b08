"""How a training stands: its state, how far it is, how it goes, and what is odd about it.

Everything is read from what the training leaves in its folder, and the claims and records beside
it, also while it runs. Nothing is written.
"""

from __future__ import annotations

import math
import os
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechlm.progress.records import read_records, together
from speechlm.progress.words import State, clock
from speechlm.score.claims import owners_of
from speechlm.score.train_log import LOG, Epoch, Stretch, TrainLog, read_train_log

RUNNING, WAITING, FINISHED, STOPPED = "running", "waiting", "finished", "stopped"
_CHECKPOINTS = ("checkpoint.pth", "latest.pth")
_REASON = "STOPPED.txt"
_SILENT_S = 600.0
"""Seconds without a line in the log of a training that is said to run."""
_FRESH_S = 60.0
"""Seconds in which who is at work writes something."""
_SPIKE, _LOOK = 1.5, 10
"""A loss so many times that of the stretches before, of which so many are looked at."""
_STEEP = 3.0
_OPTION = re.compile(r"^(accum_grad|num_iters_per_epoch): ([1-9]\d{0,8})\s*$", re.MULTILINE)
_DEPTH = 4  # folders below the one that is given


@dataclass
class Status:
    """What is known of a training; None: not known (yet).

    Attributes:
        name: its folder.
        state: one of `RUNNING`, `WAITING`, `FINISHED`, `STOPPED`.
        where: host or job, if it runs.
        done, total: updates.
        left: seconds that are left.
        loss, ctc, accuracies: means of the last updates, by the log.
        trend: change of the loss since a fifth of the updates ago, a share of it.
        valid: the last validation's values.
        rate: updates a second.
        audio: seconds of audio a second.
        memory: GB.
        checkpoint: seconds since the last one.
        warnings: what is odd, in words.
    """

    name: str
    state: str = STOPPED
    where: str = ""
    done: float = 0
    total: float | None = None
    left: float | None = None
    loss: float | None = None
    trend: float | None = None
    ctc: float | None = None
    accuracies: list[float] = field(default_factory=list)
    valid: dict[str, float] = field(default_factory=dict)
    rate: float | None = None
    audio: float | None = None
    memory: float | None = None
    checkpoint: float | None = None
    warnings: list[str] = field(default_factory=list)


def find_trainings(folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The folders of trainings among and below the given ones, each once.

    Raises:
        ValueError: a folder is not there, or nothing is a training.
    """
    found: dict[str, Path] = {}  # by the whole path
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: a folder of trainings expected, but there is none; run this in a "
                "recipe's folder, such as egs/mini, or name folders"
            )
        for training in _trainings_below(folder, _DEPTH):
            found.setdefault(os.path.abspath(training), training)
    if not found:
        raise ValueError(
            f"no training in {' '.join(map(str, folders))}: folders with {LOG} expected; stages 4 "
            "and 8 to 12 of the recipes make some"
        )
    return list(found.values())


def _trainings_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            items = sorted(entries, key=lambda entry: entry.name)
    except OSError:  # others' folders, and such as go away
        return
    names = {item.name for item in items}
    if LOG in names or (".started" in names and ".done" not in names):
        yield folder
    if depth:
        for item in items:
            if not item.name.startswith(".") and item.is_dir(follow_symlinks=False):
                yield from _trainings_below(folder / item.name, depth - 1)


def status_of(folder: Path) -> Status:
    """How a training stands; a damaged log or configuration is said among the warnings."""
    status = Status(str(folder))
    folder = Path(os.path.abspath(folder))  # "." has no folder that it is in
    log = TrainLog()
    try:
        log = read_train_log(folder / LOG)
    except FileNotFoundError:
        pass
    except OSError as error:
        status.warnings.append(f"{LOG} cannot be read: {error.strerror}")
    config = _config(folder)
    stretches = [s for n in sorted(log.epochs) for s in _stretches(log.epochs[n])]
    _set_place(status, log, config)
    _set_state(status, folder, log)
    if stretches:
        _set_values(status, stretches, log)
    _set_warnings(status, folder, log, stretches)
    return status


def _stretches(epoch: Epoch) -> list[Stretch]:
    """Those of an epoch; one that is shorter than the interval of its log is one stretch."""
    if epoch.stretches or not epoch.train or epoch.ended is None:
        return epoch.stretches
    return [Stretch(epoch.batches, epoch.ended, epoch.train)]


def _config(folder: Path) -> dict[str, int]:
    """The options that are needed, by ESPnet's lines: to read all takes 40 ms a training."""
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {name: int(value) for name, value in _OPTION.findall(text)}


def _set_place(status: Status, log: TrainLog, config: dict[str, int]) -> None:
    """Updates done and to do, and the time that is left by the log's own times."""
    if not log.epochs:
        return
    last, accumulated = max(log.epochs), config.get("accum_grad", 1)
    known = [epoch.batches for epoch in log.epochs.values() if epoch.batches]
    length = max(known, default=config.get("num_iters_per_epoch", 0))
    epoch = log.epochs[last]
    in_epoch = epoch.batches or max((s.last for s in epoch.stretches), default=0)
    # Batches behind the last whole update of an epoch make none.
    status.done = (last - 1) * (length // accumulated) + in_epoch // accumulated
    if length:
        status.total = log.max_epoch * (length // accumulated)
    durations = _durations(log)
    if length and (durations or epoch.stretches):
        each = durations[-1] if durations else _seconds_to(epoch, length)
        rest = max(0.0, 1.0 - in_epoch / length)
        # A clock that was set back makes times negative.
        status.left = max(0.0, each) * (log.max_epoch - last + (0 if epoch.valid else rest))


def _durations(log: TrainLog) -> list[float]:
    """Seconds from one epoch's start to the next one's, with validation."""
    epochs = log.epochs
    return [
        (epochs[n + 1].started - epochs[n].started).total_seconds()
        for n in sorted(epochs)
        if n + 1 in epochs and epochs[n].valid
    ]


def _seconds_to(epoch: Epoch, length: int) -> float:
    """What the first epoch will take."""
    last = epoch.stretches[-1]
    return (last.time - epoch.started).total_seconds() * length / last.last


def _set_state(status: Status, folder: Path, log: TrainLog) -> None:
    owners = owners_of(folder)
    written = _age(folder / LOG)
    place = folder.with_name(f".{folder.name}.progress")
    records = [record for record in read_records(place) if record.what == "updates"]
    newest = min((age for age in map(_age, place.glob("*.json")) if age is not None), default=None)
    fresh = any(age is not None and age < _FRESH_S for age in (written, newest))
    if owners.step is not None:
        first = owners.jobs[0] if owners.jobs else owners.step
        status.where = f"job {first.job} on {first.host}" if first.job else first.host
        begun = written is not None and time.time() - written >= owners.step.since
        status.state = RUNNING if owners.jobs or begun or records else WAITING
    elif log.finished or (folder / ".done").is_file():
        status.state, status.left = FINISHED, None
    elif fresh and not (log.error or log.stopped):
        status.state = RUNNING  # not by a step: by hand, or for an output of another name
    state = together(records)
    if status.state == RUNNING and state is not None:
        _set_newest(status, state)
    ages = [_age(folder / name) for name in _CHECKPOINTS]
    status.checkpoint = min((age for age in ages if age is not None), default=None)


def _set_newest(status: Status, state: State) -> None:
    """What the training itself says, which is newer than its log."""
    status.done, status.rate = state.done, state.rate or None
    status.total = state.total or status.total
    status.left = state.left if state.left is not None else status.left


def _age(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def _set_values(status: Status, stretches: Sequence[Stretch], log: TrainLog) -> None:
    means = stretches[-1].means
    status.loss, status.ctc = means.get("loss"), means.get("loss_ctc")
    status.accuracies = [value for name, value in means.items() if "acc" in name]
    losses = [s.means["loss"] for s in stretches if "loss" in s.means]
    before = losses[-1 - max(1, len(losses) // 5)] if len(losses) > 1 else None
    if before and math.isfinite(before) and math.isfinite(losses[-1]):
        status.trend = (losses[-1] - before) / abs(before)
    seconds = means.get("train_time")  # of an update
    if seconds:
        status.rate = status.rate or 1 / seconds
        if "audio_seconds" in means:
            status.audio = means["audio_seconds"] / seconds
    ended = [epoch for epoch in log.epochs.values() if epoch.valid]
    status.valid = ended[-1].valid if ended else {}
    memories = [epoch.memory for epoch in log.epochs.values() if epoch.memory is not None]
    gpu = means.get("gpu_max_cached_mem_GB")
    status.memory = gpu or (memories[-1] if memories else None)


def _set_warnings(
    status: Status, folder: Path, log: TrainLog, stretches: Sequence[Stretch]
) -> None:
    say = status.warnings.append
    if status.state == STOPPED:
        say(f"stopped: {_reason(folder, log)}")
    silent = _age(folder / LOG)
    usual = 3 * max(_durations(log), default=0.0)
    if status.state == RUNNING and silent is not None and silent > max(_SILENT_S, usual):
        say(f"no line in its log for {clock(silent)}")
    if status.state == FINISHED and log.error:
        say(f"error in its log: {log.error}")
    status.warnings += spikes(stretches)
    status.warnings += collapses(stretches)
    status.warnings += steep_gradients(stretches)


def _reason(folder: Path, log: TrainLog) -> str:
    try:
        with (folder / _REASON).open(encoding="utf-8", errors="replace") as file:
            return file.readline().strip().removeprefix("training stopped: ")
    except OSError:
        pass
    if log.stopped or log.error:
        return log.stopped or log.error
    begun = "its log ends there" if log.epochs else "no epoch has begun"
    return f"nobody is at work, and {begun}; start the stage again to go on"


def spikes(stretches: Sequence[Stretch]) -> list[str]:
    """Losses far above those of the stretches before; the last one is named."""
    losses = [s.means.get("loss", math.nan) for s in stretches]
    found = []
    for n in range(3, len(losses)):
        usual = statistics.median(losses[max(0, n - _LOOK) : n])
        if not math.isfinite(losses[n]) or losses[n] > usual + (_SPIKE - 1) * abs(usual):
            found.append(n)
    if not found:
        return []
    last, count = found[-1], len(found)
    times = "once" if count == 1 else f"{count} times"
    when = stretches[last].time.strftime("%d %b %H:%M")
    return [f"the loss rose {times} far above the ones before, last to {losses[last]:.3g} ({when})"]


def collapses(stretches: Sequence[Stretch]) -> list[str]:
    """Masked accuracies that have fallen to half of their best, or never rose."""
    found = []
    for name in dict.fromkeys(n for s in stretches for n in s.means if "acc" in n):
        values = [s.means[name] for s in stretches if name in s.means]
        best, last = max(values), values[-1]
        if len(values) >= 3 and last < best / 2:
            found.append(f"{name} fell from {best:.3f} to {last:.3f}: does one unit take all?")
        elif len(values) >= _LOOK and best - values[0] < 0.01 and best < 0.9:
            found.append(f"{name} has not risen above {best:.3f}: does one unit take all?")
    return found


def steep_gradients(stretches: Sequence[Stretch]) -> list[str]:
    """A gradient norm that is not finite, or far above what it was."""
    norms = [s.means["grad_norm"] for s in stretches if "grad_norm" in s.means]
    if not norms:
        return []
    if not math.isfinite(norms[-1]):
        return [f"the gradient's norm is {norms[-1]}"]
    before = [norm for norm in norms[-1 - _LOOK : -1] if math.isfinite(norm)]
    if len(before) >= 3 and norms[-1] > _STEEP * statistics.median(before):
        usual = statistics.median(before)
        return [f"the gradient's norm is {norms[-1]:.3g}, it was about {usual:.3g}"]
    return []
