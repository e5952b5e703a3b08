"""Reading files that a crash, a full disk or a failed download may have left empty, cut or wrong.

Whoever opens a file of weights, arrays or settings does it in a `reading` block: its user then
learns which file it is, what is wrong with it and what to do, whatever a library says of it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from speechlm.data.encoding import BOM, NO_FILE, text_lines

MAKE_AGAIN = "copy it or make it again"
"""What to do with a file of which another copy can be had."""
_HEAD = 4096  # bytes
_BLOCK = 1 << 20
_MOST_PACKED = 16  # bytes that one stands for in a packed array of other values than zeros
_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = (b"<!doctype html", b"<html", b"<head")


class DamagedFile(ValueError):
    """A file is missing, empty, cut off, damaged, or no file of its kind."""


def damage(path: str | os.PathLike[str]) -> str:
    """What is wrong with a file at first sight: `is empty`, `is a folder`, ...; '' if nothing is.

    Found are files that are not there, folders, pipes and devices, files without a byte or with
    zeros alone, web pages and pointers of Git LFS in place of the file.
    """
    if not os.path.lexists(path):
        return "expected, but it is not there"
    if not os.path.exists(path):
        return f"is a link to {os.readlink(path)}, which is not there"
    if os.path.isdir(path):
        return "is a folder; a file is expected"
    if not os.path.isfile(path):
        return f"is {NO_FILE}"
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if not head:
            return "is empty: its writing or copying was cut off, or the disk was full"
        if head.startswith(_LFS):
            return "is a pointer of Git LFS, not the file itself: `git lfs pull` fetches that"
        start = head.removeprefix(BOM).lstrip().lower()
        if start.startswith(_HTML):
            return "is a web page (HTML), not the file: its download has failed, download it again"
        while head and not head.strip(b"\0"):
            head = file.read(_BLOCK)
    if not head:
        return "holds nothing but zeros: the machine stopped before it was written"
    return ""


@contextmanager
def reading(path: str | os.PathLike[str], what: str, advice: str = MAKE_AGAIN) -> Iterator[None]:
    """A block that reads a file; whatever fails in it becomes one line for the file's user.

        with reading(path, "weights"):
            weights = load_file(path)

    Args:
        path: the file.
        what: what it should hold, for the message.
        advice: what to do if it cannot be read.

    Raises:
        DamagedFile: it is not there, empty, cut off or damaged, or no such file.
        OSError: the system refuses to read it (permissions, a broken disk).
        MemoryError: there is not enough memory.
    """
    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; {advice}")
    try:
        yield
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        # A place in the file that no file has, as damaged numbers say, is "invalid" (EINVAL).
        if isinstance(error, OSError) and error.errno not in (None, 0, errno.EINVAL):
            raise
        # Libraries raise almost anything on bytes that they do not expect.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedFile(
            f"{path} is cut off or damaged, or holds no {what} ({reason}); {advice}"
        ) from None


def read_arrays(
    path: str | os.PathLike[str], names: Collection[str], what: str, advice: str = MAKE_AGAIN
) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name; nothing in it is unpickled.

    Args:
        path: the file.
        names: arrays that must be there; none: whichever there are.
        what, advice: as in `reading`.

    Raises:
        DamagedFile: it cannot be read, or lacks one of the arrays.
    """
    with reading(path, what, advice):
        _check_promises(path)  # and numpy takes a file that is no archive for something else
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (names or file.files)}
    return arrays


def _check_promises(path: str | os.PathLike[str]) -> None:
    """Refuse arrays that are larger than their bytes: memory would be taken for them first.

    No program here packs arrays. What others have packed may be 16 times its bytes, but not the
    1000 times of zeros alone, with which a small file takes all memory.

    Raises:
        ValueError: there is such an array, or something else than arrays.
        zipfile.BadZipFile: the file is no archive.
    """
    there = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            packed = info.compress_type != zipfile.ZIP_STORED
            most = min(info.file_size, there * (_MOST_PACKED if packed else 1))
            with archive.open(info) as member:
                one = npy.read_magic(member) == (1, 0)
                read = npy.read_array_header_1_0 if one else npy.read_array_header_2_0
                shape, _, dtype = read(member)
            if (promised := math.prod(shape) * dtype.itemsize) > most:
                raise ValueError(f"{info.filename} promises {promised} bytes, {most} are there")


def read_json(path: str | os.PathLike[str], what: str, advice: str = MAKE_AGAIN) -> dict[str, Any]:
    """The values of a JSON file of `{"key": value}`.

    Raises:
        DamagedFile: it cannot be read, or holds something else.
    """
    with reading(path, what, advice):
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"values by key expected, found {str(values)[:40]}")
    return values


def read_lines(path: str | os.PathLike[str], what: str, advice: str = MAKE_AGAIN) -> list[str]:
    """The lines of a text file in UTF-8, without their ends.

    Raises:
        DamagedFile: it is no such file.
    """
    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; {advice}")
    try:
        return [line for _, line in text_lines(path)]
    except ValueError as error:
        raise DamagedFile(f"{error} ({what} expected; {advice})") from None


def is_whole_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a zip archive, which a file of `torch.save` is, is there and has its end."""
    return not damage(path) and zipfile.is_zipfile(path)
