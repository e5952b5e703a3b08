"""Room on the disk: looked at before much is written, and told where writing fails."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)


class CannotWrite(OSError):
    """A file or folder cannot be written; the message has its folder and what is free there."""

    def __str__(self) -> str:
        return str(self.args[1])


def cannot_write(
    number: int | None, path: str | os.PathLike[str], reason: str, needed: int = 0
) -> CannotWrite:
    """The error that a path cannot be written.

    Args:
        number: the system's (`errno`), if it is known.
        path: file or folder.
        reason: why.
        needed: bytes; 0: not known.
    """
    folder = _there(Path(path))
    free = f"{shutil.disk_usage(folder).free:,} bytes free in {folder}"
    room = f"{needed:,} bytes needed, {free}" if needed else free
    text = f"{path} cannot be written: {reason}; {room}. What was there before is unchanged"
    return CannotWrite(number, text)  # plain arguments: a process can send it to another


def check_room(folder: str | os.PathLike[str], needed: int, what: str) -> None:
    """Make sure that so many bytes can be written into a folder, which is made if it is not there.

    Quotas are not seen here; where one is exceeded, writing says so.

    Args:
        folder: where.
        needed: bytes.
        what: what is to be written, for the message.

    Raises:
        CannotWrite: the folder cannot be written to, or has less room.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise cannot_write(error.errno, folder, f"{what}: {reason}", needed) from None
    if shutil.disk_usage(folder).free < needed:
        raise cannot_write(errno.ENOSPC, folder, f"{what}: not enough room", needed)


def writing_error(error: OSError, final: Path, temporary: Path) -> OSError:
    """The same error, with path and free bytes if it says that an output could not be written.

    Args:
        error: of the block that wrote the output; an error of its inputs stays as it is.
        final: name of the output.
        temporary: where it was written.
    """
    ours = error.filename is None or Path(error.filename) in (temporary, final, final.parent)
    refused = _NO_ROOM if error.filename is None else (*_NO_ROOM, *_NOT_ALLOWED)
    if isinstance(error, CannotWrite) or not ours or error.errno not in refused:
        return error
    return cannot_write(error.errno, final, error.strerror or str(error))


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the path that a block writes to, and the free bytes, if there is no room for it.

    For what has no temporary name: see `output_file` for the rest.

    Raises:
        CannotWrite: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise writing_error(error, Path(path), Path(path)) from None


def in_words(error: OSError, outputs: Collection[str]) -> str:
    """The error in a line; where the disk is full and no file is named, what is free where.

    Args:
        error: the system's.
        outputs: what the program was told to write; the current folder and that for temporary
            files are always looked at.
    """
    if isinstance(error, CannotWrite) or error.filename or error.errno not in _NO_ROOM:
        return str(error)
    folders = dict.fromkeys(_there(Path(p)) for p in (*outputs, ".", tempfile.gettempdir()))
    free = ", ".join(f"{shutil.disk_usage(f).free:,} in {f.resolve()}" for f in folders)
    return f"a file cannot be written: {error.strerror}; bytes free: {free}"


def _there(path: Path) -> Path:
    """The folder that is meant, or the nearest one above it that is there."""
    while not path.is_dir():
        path = path.parent
    return path
