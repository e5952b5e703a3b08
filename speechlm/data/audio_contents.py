"""What stands in an audio file, whatever its header says."""

from __future__ import annotations

import mmap
import os

import soundfile

from speechlm.data.audio_parts import Contents, EmptyAudio, UnreadableAudio, reason_of
from speechlm.data.audio_tags import Data, padding_length, tag_length
from speechlm.data.flac_streams import flac_contents
from speechlm.data.mpeg_frames import mpeg_contents, parse_frame
from speechlm.data.ogg_pages import ogg_contents
from speechlm.data.pcm_chunks import is_pcm, pcm_contents

_SMALL = 1 << 26  # bytes of a file that is read at once


def open_contents(path: str | os.PathLike[str], only_first: bool = False) -> Contents:
    """Find the streams of a file by looking at its bytes, not at its name.

    Args:
        path: a file of MP3, FLAC, Ogg, WAV or what `pcm_chunks` knows.
        only_first: do not read all of a FLAC file to look for streams behind the first.

    Raises:
        UnreadableAudio: there is no such file, it cannot be read, is no audio or is damaged.
        EmptyAudio: no bytes.
        TruncatedAudio: something is missing at the end.
    """
    if not os.path.isfile(path):
        raise UnreadableAudio(path, "no such file")
    if os.path.getsize(path) == 0:
        raise EmptyAudio(path, "the file has no bytes")
    try:
        data = _read(path, only_first)
    except OSError as error:
        raise UnreadableAudio(path, f"cannot be read ({error.strerror})") from None
    start = 0
    while data[start : start + 3] == b"ID3" and (size := tag_length(data, start)):
        start += size
        start += padding_length(data, start)
    head = data[start : start + 16]
    if head[:4] == b"fLaC":
        return flac_contents(path, data, start, only_first)
    if head[:4] == b"OggS":
        return ogg_contents(path, data)
    if is_pcm(head):
        return pcm_contents(path, data, start)
    if parse_frame(head[:4]):
        return mpeg_contents(path, data)
    raise UnreadableAudio(path, _why_not(path))


def _read(path: str | os.PathLike[str], only_first: bool) -> Data:
    """A file's bytes; a large file, or one whose header may do, is mapped and not read.

    Where a disk fails while mapped bytes are looked at, the system ends the process: no error can
    be raised then.
    """
    with open(path, "rb") as file:
        if only_first or os.fstat(file.fileno()).st_size > _SMALL:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return file.read()


def _why_not(path: str | os.PathLike[str]) -> str:
    """What libsndfile thinks of a file of no format that is known here."""
    try:
        info = soundfile.info(os.fspath(path))
    except soundfile.LibsndfileError as error:
        return f"not a readable audio file ({reason_of(error)})"
    if info.format.startswith(("MP3", "MPEG")):
        return "damaged: an MPEG frame expected at its beginning"
    return f"a {info.format} file; its length cannot be checked: convert it to WAV or FLAC"
