"""What the log of a training says: stretches of updates, epochs, results, warnings.

A log has a line for each stretch of updates, and for each epoch one with its CPU seconds, written
when its updates are done, and one with the results of training and validation.
"""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOG = "train.log"
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")
_STARTED = re.compile(r" (\d+)/(\d+)epoch started")
_STRETCH = re.compile(r" (\d+)epoch:train:\d+-(\d+)batch: (.*)")
_CPU = re.compile(r" (\d+)epoch:train: cpu_seconds=([\d.]+)(.*)")
_RESULTS = re.compile(r" (\d+)epoch results: \[train\] (.*?), \[valid\] (.*)")
_ERROR = re.compile(r"\) ERROR: (.*)")
_STOPPED = re.compile(r"WARNING: (stopped by \w+ .*)")
_FINISHED = "The training was finished at"
# ESPnet leaves the comma out at one place of a stretch: "loss=5.613accuracy_top=0.078".
_VALUE = re.compile(r"([A-Za-z]\w*)=([-+]?(?:\d+(?:\.\d+)?(?:e[-+]\d+)?|nan|inf))")


@dataclass(frozen=True)
class Stretch:
    """Some updates of an epoch."""

    last: int
    """Their last batch, from 1."""
    time: datetime.datetime
    """When it was done."""
    means: dict[str, float]
    """Of values, over the batches."""


@dataclass
class Epoch:
    """What the log says of one epoch."""

    started: datetime.datetime
    stretches: list[Stretch] = field(default_factory=list)
    cpu: float | None = None
    """CPU seconds of its updates."""
    ended: datetime.datetime | None = None
    """When the updates were done."""
    train: dict[str, float] = field(default_factory=dict)
    """Means of all its updates, when it has ended."""
    valid: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    """Of training; 0: not known yet."""
    memory: float | None = None
    """GB that the process had at most."""


@dataclass
class TrainLog:
    """A log, as far as it is written."""

    epochs: dict[int, Epoch] = field(default_factory=dict)
    """By number; one that was begun again counts once."""
    max_epoch: int = 0
    """0: none has begun."""
    finished: bool = False
    error: str = ""
    """The last one since the last epoch began."""
    stopped: str = ""
    """Why the training was asked to stop, if it was."""


def read_train_log(path: Path) -> TrainLog:
    """Read a log; what is not whole or of others is passed over.

    Raises:
        OSError: it cannot be read.
    """
    log = TrainLog()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if stamp := _TIME.match(line):
                with suppress(ValueError):  # no such day, or numbers of thousands of digits
                    _read_line(line.rstrip("\n"), stamp[0], log)
    return log


def _read_line(line: str, stamp: str, log: TrainLog) -> None:
    if "epoch" in line:
        _read_epoch(line, _moment(stamp), log)
    if match := _ERROR.search(line):
        log.error = match[1]
    elif match := _STOPPED.search(line):
        log.stopped = match[1]
    elif _FINISHED in line:
        log.finished = True


def _read_epoch(line: str, time: datetime.datetime, log: TrainLog) -> None:
    epochs = log.epochs
    if match := _STARTED.search(line):
        number = int(match[1])
        for later in [n for n in epochs if n >= number]:  # begun again
            del epochs[later]
        epochs[number] = Epoch(time)
        log.max_epoch = int(match[2])
        log.finished, log.error, log.stopped = False, "", ""
    elif (match := _STRETCH.search(line)) and int(match[1]) in epochs:
        stretch = Stretch(int(match[2]), time, _values(match[3]))
        epochs[int(match[1])].stretches.append(stretch)
    elif (match := _CPU.search(line)) and int(match[1]) in epochs:
        epoch = epochs[int(match[1])]
        epoch.cpu, epoch.ended = float(match[2]), time
        epoch.memory = _values(match[3]).get("memory_gb")
    elif (match := _RESULTS.search(line)) and int(match[1]) in epochs:
        epoch = epochs[int(match[1])]
        before = sum(e.batches for n, e in epochs.items() if n < int(match[1]))
        epoch.train = _values(match[2])
        epoch.batches = int(epoch.train.get("total_count", 0)) - before
        epoch.valid = _values(match[3])


def _values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _VALUE.findall(text)}


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f")
