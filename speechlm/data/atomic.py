"""Outputs that are either complete or absent.

A result is written beside its final name and renamed when the block ends well, so that a run
killed at any point never leaves half a file under a name which a later stage would read.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speechlm.data.disk import cannot_write, writing_error

_HOST = socket.gethostname().split(".")[0] or "localhost"
_PREFIX = f".tmp.{_HOST}."


@contextmanager
def output_file(path: str | os.PathLike[str], tidy: bool = True) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` at the end.

    Who may read it is up to the umask, whatever a library has chosen that writes the file.

    The parent folder is made if needed. The block must create the file; on any exception, also
    KeyboardInterrupt, the temporary file is removed and an older `path` stays as it was. What
    killed processes left of `path` is removed, unless not `tidy`: that lists the folder, which
    takes long where very many files are made.

    Raises:
        CannotWrite: there is no room for it, or it may not be written there.
    """
    final = Path(path)
    temporary = _temporary(final, tidy)
    try:
        yield temporary
        _open_to_others(temporary)
        os.replace(temporary, final)
    except OSError as error:
        _remove(temporary)
        raise writing_error(error, final, temporary) from None
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def library_writes(path: str | os.PathLike[str], *errors: type[Exception]) -> Iterator[None]:
    """Let a library that has errors of its own report a full disk as the system does.

    Args:
        path: what is written, for the message.
        errors: what the library raises then.

    Raises:
        CannotWrite: instead of these.
    """
    try:
        yield
    except errors as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise cannot_write(None, path, f"is the disk full? ({reason})") from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, which is there complete or not at all."""
    with output_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def output_dir(path: str | os.PathLike[str], added: Collection[str] = ()) -> Iterator[Path]:
    """Yield a new empty folder that becomes `path` at the end; an older `path` is replaced.

    Who may read its files is up to the umask, as in `output_file`.

    If the older one holds a file that the new one has not, it is no older output, or not only
    that: it is kept as `path.old`, `path.old.2`, ... with a warning. On any exception the new
    folder is removed and an older `path` stays as it was.

    Args:
        path: the folder.
        added: names of files that may go with an older output: what other programs put into it,
            or what only some outputs have. Hidden files go with it, too.

    Raises:
        ValueError: `path` is a file, or the current folder is in it.
        CannotWrite: there is no room for it, or it may not be written there.
    """
    final = Path(path)
    if final.exists() and not final.is_dir():
        raise ValueError(f"{final}: a folder to write expected, but it is a file")
    if Path.cwd().is_relative_to(final.resolve()):
        raise ValueError(f"{final}: a folder of its own expected, but this is where you work")
    temporary = _temporary(final)
    try:
        temporary.mkdir()
        yield temporary
        for made in temporary.rglob("*"):
            if made.is_file() and not made.is_symlink():
                _open_to_others(made)
        if final.exists():
            others = sorted(_files(final) - _files(temporary) - {*added})
            old = temporary.with_name(temporary.name + ".old") if not others else _kept(final)
            os.rename(final, old)
            os.rename(temporary, final)
            if others:
                names = " ".join(others[:5]) + (" ..." if len(others) > 5 else "")
                logging.warning("%s held other files (%s): it is now %s", final, names, old)
            else:
                _remove(old)
        else:
            os.rename(temporary, final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise writing_error(error, final, temporary) from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_leftovers(folder: str | os.PathLike[str], names: Collection[str] = ()) -> None:
    """Remove what killed processes of this host left in a folder: all, or of these outputs."""
    for name in os.listdir(folder):
        if name.startswith(_PREFIX):
            pid, _, rest = name[len(_PREFIX) :].partition(".")
            if (not names or rest in names) and not _runs_elsewhere(pid):
                _remove(Path(folder) / name)


def _open_to_others(path: Path) -> None:
    """Give a file that was made for its owner alone (tempfile, safetensors) the mode of `open`."""
    # Of a link itself, which may name a file that is not there (yet).
    if stat.S_IMODE(path.lstat().st_mode) == stat.S_IRUSR | stat.S_IWUSR:
        mask = os.umask(0o077)  # there is no other way to ask for it
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def _files(folder: Path) -> set[str]:
    """Files in a folder and its folders, but for hidden ones at the top: relative paths."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {str(path) for path in paths if not path.parts[0].startswith(".")}


def _kept(final: Path) -> Path:
    """A free name for an older folder that is not removed."""
    number, free = 1, final.with_name(f"{final.name}.old")
    while os.path.lexists(free):
        number += 1
        free = final.with_name(f"{final.name}.old.{number}")
    return free


def _temporary(final: Path, tidy: bool = True) -> Path:
    """A free name beside `final`."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if tidy:
        remove_leftovers(final.parent, (final.name, final.name + ".old"))
    return final.parent / f"{_PREFIX}{os.getpid()}.{final.name}"


def _runs_elsewhere(pid: str) -> bool:
    """Whether another process with this number is alive."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # of a read-only disk, though nothing is there
            path.unlink(missing_ok=True)
