"""What the operating system refused, in words: which path, why, and what can be done.

For the tools that start steps and jobs; the package has its own in speechlm/data/disk.py.
"""

import errno
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM)
IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def user_name(number: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def nearest(path: Path) -> Path:
    """Return the path, or the innermost folder above it that this user can see."""
    path = Path(os.path.abspath(path))
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


def remedy(number: int | None, path: Path) -> str:
    """Return what is in the way at a path, and what to do about it ("" if that is not known)."""
    there = nearest(path)
    folder = there if there.is_dir() else there.parent
    if number in NO_ROOM:
        free = shutil.disk_usage(folder).free
        return f"{free:,} bytes are free in {folder}; make room (quotas count, too) and start again"
    if number == errno.EROFS:
        return f"the file system of {folder} can only be read; run the recipe in a copy elsewhere"
    if number in FORBIDDEN:
        status = there.lstat()
        return (
            f"{there} belongs to {user_name(status.st_uid)} ({stat.filemode(status.st_mode)}), and "
            f"this is {user_name(os.geteuid())}; run in a copy of the recipe that is your own, or "
            "have the permission given"
        )
    if number in IN_THE_WAY:
        kind = "a folder" if there.is_dir() else "no folder"
        return f"{there} is there already, and is {kind}; move it away and start again"
    if number == errno.ESTALE:
        return "the shared file system has lost it; start again"
    return ""


def in_words(error: OSError, path: Path) -> str:
    """Return a system's error in a line.

    Args:
        error: What was raised.
        path: What was being made, where the error names no path.
    """
    path = Path(os.path.abspath(error.filename or path))
    said = f"{path}: {error.strerror or error}"
    try:
        more = remedy(error.errno, path)
    except OSError:  # of the file system itself
        more = ""
    return f"{said}. {more[0].upper()}{more[1:]}" if more else said


def refusal(folder: Path) -> str:
    """Return why a folder takes no file now ("" if it does), as `in_words` says it."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(4096))
    except OSError as error:
        return in_words(error, folder)
    return ""
