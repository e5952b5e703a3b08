"""Logs of trainings: a file for each worker, in the training's folder."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechlm.data.disk import cannot_write, check_room
from speechlm.progress.screen import ERASE, is_terminal

_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
_SMALL_FILES = 1 << 20
"""Bytes that a training's log, settings and lists take at least."""


class LogFile(logging.FileHandler):
    """A log file; that it cannot be written (a full disk) is said once, on stderr."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by `logging` where a line could not be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told:
            self.told = True
            print(f"{cannot_write(error.errno, self.baseFilename, str(error))}", file=sys.stderr)


def log_to(folder: str | os.PathLike[str], rank: int, level: str) -> None:
    """Append the log to a file in the folder, and send it to stderr.

    That of the first worker is train.log; the other workers' are train.RANK.log, which have
    warnings and errors, and are made with the first of them. stderr has only errors of theirs.

    Raises:
        CannotWrite: the folder cannot be written to.
    """
    if rank == 0:
        check_room(folder, _SMALL_FILES, "log and settings of the training")
    name = f"train.{rank}.log" if rank else "train.log"
    file = LogFile(Path(folder) / name, encoding="utf-8", delay=rank > 0)
    terminal = logging.StreamHandler(sys.stderr)
    if rank:
        terminal.setLevel("ERROR")
    before = ERASE if is_terminal(sys.stderr) else ""  # a line that moves may be there
    terminal.setFormatter(logging.Formatter(before + _FORMAT))
    file.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level="WARNING" if rank else level, handlers=[terminal, file], force=True)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


@contextmanager
def log_failure() -> Iterator[None]:
    """Within the block an error goes to this worker's log file, too, with its traceback.

    Whoever has started the program shows it on stderr; where there are many workers, that may be
    another one's.
    """
    try:
        yield
    except Exception as error:
        logger = logging.getLogger()
        values = (logging.ERROR, __file__, 0, "%s: %s", (type(error).__name__, error))
        failure = logger.makeRecord(logger.name, *values, sys.exc_info())
        for handler in logger.handlers:
            if isinstance(handler, LogFile):
                handler.handle(failure)
        raise
