"""Names that other people gave: what becomes an id of Kaldi's tables, and which files are hidden.

An id stands at the beginning of a line, before a blank, and in names of files (`ID.flac`). A name
that cannot be one is written with the percent signs of URLs: `my file` becomes `my%20file`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 160
"""Length of an id in UTF-8, so that temporary files can have it in their names (255 bytes)."""
_MARK = 17  # characters of `~` and the checksum at the end of an id that was too long
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,~@-]{0,80}")
_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx", "lost+found")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is there for a system's own sake, not part of a corpus.

    Names that begin with a dot (`._x.wav` of macOS, `.DS_Store`, `.nfs0001`), and what Windows,
    macOS and network drives leave in folders.
    """
    return name.startswith(".") or name.lower() in _JUNK


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths whose names are not hidden, sorted."""
    return sorted(path for path in paths if not is_hidden(path.name))


def safe_id(name: str, most: int = MAX_BYTES) -> str:
    """The id of a name, which is the name itself unless it cannot be one.

    Blanks, control and invisible characters, slashes, backslashes, a dot at the beginning and bytes
    that are no UTF-8 are escaped, letters with accents composed (NFC). Of a name that is too long a
    checksum takes the place of the end. An id is its own id, so that files which are named by ids
    are found again; readers leave out a name whose id another one has (`a b` beside `a%20b`).

    Args:
        name: without folder and ending.
        most: bytes that the id may have in UTF-8.

    Raises:
        ValueError: the name is empty.
    """
    if _PLAIN.fullmatch(name) and len(name) <= most:
        return name
    if not name:
        raise ValueError("a name expected to make an id of, got an empty one")
    plain = unicodedata.normalize("NFC", name)
    plain = "".join(_escaped(c) if _is_unsafe(c) else c for c in plain)
    if plain.startswith("."):
        plain = "%2E" + plain[1:]
    raw = plain.encode()
    if len(raw) <= most:
        return plain
    return f"{raw[: most - _MARK].decode(errors='ignore')}~{checksum(plain)}"


def checksum(name: str) -> str:
    """16 hexadecimal digits that tell a name from others."""
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def spaced(name: str) -> str:
    """A name as it may stand in a line: single blanks, accents composed."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def id_problem(name: str) -> str:
    """Why a name that another program gave cannot be an id; an empty string if it can."""
    if _PLAIN.fullmatch(name):
        return ""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return "a leading dot"
    odd = sorted({c for c in name if _breaks_tables(c)})
    if odd:
        return f"it has {' '.join('a slash' if c == '/' else repr(c) for c in odd)}"
    size = len(name.encode())
    return f"it has {size} bytes, {MAX_BYTES} at most can be" if size > MAX_BYTES else ""


def path_problem(path: str | os.PathLike[str]) -> str:
    """Why a path cannot stand in wav.scp; an empty string if it can."""
    name = os.fspath(path)
    if not name:
        return "it is empty"
    if name.startswith("|") or name.endswith("|"):
        return "a bar at an end of the path makes it a command in wav.scp"
    if name != name.strip():
        return "a blank at an end of the path"
    if "\n" in name or "\r" in name:
        return "a line end in the path"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "the path is not UTF-8"
    return ""


def speaker_of(utterance: str) -> str:
    """What stands before the first hyphen of an id, which is the id itself without one."""
    return utterance.split("-")[0] or utterance


def _breaks_tables(character: str) -> bool:
    """Blanks, control characters, bytes that are no UTF-8, and what paths are made of."""
    kind = unicodedata.category(character)
    return character in "/\\\ufeff" or kind[0] == "Z" or kind in ("Cc", "Cs")


def _is_unsafe(character: str) -> bool:
    """The same, and invisible and unassigned characters."""
    return _breaks_tables(character) or unicodedata.category(character)[0] == "C"


def _escaped(character: str) -> str:
    # bytes of a file name that are no UTF-8 are surrogates in Python: U+DCE9 is the byte E9
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
