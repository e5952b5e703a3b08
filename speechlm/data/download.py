"""Downloading LibriSpeech (openslr.org/12) and its language model resources (openslr.org/11).

Downloads go to NAME.part and continue where they were interrupted; a file gets its name when its
checksum is right. The checksums of the audio archives are those of openslr.org's md5sum.txt, as
others quote it; openslr.org/11 publishes none: the text's is that of several independent downloads,
those of the lexicon, the n-grams and the list of words are of one, whose other sums are these.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import os
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechlm.progress import Progress

MIRRORS = ("https://www.openslr.org/resources", "https://us.openslr.org/resources")
AUDIO_MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
TEXT_MD5 = {
    "librispeech-lm-norm.txt.gz": "c83c64c726a1aedfe65f80aa311de402",
    "librispeech-lexicon.txt": "28f72663f6bfed7cd346283c064c315b",
}
LM_FILES = {
    "decode_lm.arpa.gz": "3-gram.pruned.3e-7.arpa.gz",
    "rescore_lm.arpa.gz": "4-gram.arpa.gz",
    "decode_lexicon.txt": "librispeech-vocab.txt",
}
"""What decoding takes of openslr.org/11, under the names of the options that take such files."""
LM_MD5 = {
    "3-gram.pruned.3e-7.arpa.gz": "8f67ec741827742eee05799ab7605b50",
    "4-gram.arpa.gz": "6abdcd5b055bd482e4f9defe91d40408",
    "librispeech-vocab.txt": "bf3cc7a50112831ed8b0afa40cae96a5",
}
_BLOCK = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where to download from, and how patiently."""

    mirrors: Sequence[str] = MIRRORS
    tries: int = 5
    """Attempts on each mirror without any progress before giving up."""
    timeout: float = 30.0
    """Seconds without an answer that count as an interruption."""
    pause: float = 2.0
    """Seconds before the second attempt, doubled for each further one."""


def download_parts(
    parts: Sequence[str],
    output: str | os.PathLike[str],
    source: Source | None = None,
    md5: dict[str, str] | None = None,
) -> None:
    """Make output/LibriSpeech/PART of each part; parts that are there already are left alone.

    Raises:
        ValueError: unknown parts, a wrong checksum, an unsafe archive, or no network.
    """
    known = AUDIO_MD5 if md5 is None else md5
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise ValueError(f"parts {' '.join(known)} expected, got {' '.join(unknown)}")
    target = Path(output)
    for part in parts:
        done = target / "LibriSpeech" / part / ".complete"
        if done.is_file():
            _log.info("%s is there already", done.parent)
            continue
        archive = target / f"{part}.tar.gz"
        download(f"12/{archive.name}", archive, known[part], source)
        extract(archive, target)
        if not done.parent.is_dir():
            raise ValueError(f"{archive} has no folder LibriSpeech/{part}; delete and retry")
        done.touch()


def download_text(
    output: str | os.PathLike[str], source: Source | None = None, md5: dict[str, str] | None = None
) -> None:
    """Make output/librispeech-lm-norm.txt.gz (1.5 GB) and output/librispeech-lexicon.txt."""
    for name, checksum in (TEXT_MD5 if md5 is None else md5).items():
        download(f"11/{name}", Path(output) / name, checksum, source)


def download_lm(
    output: str | os.PathLike[str], source: Source | None = None, md5: dict[str, str] | None = None
) -> None:
    """Make the files of `LM_FILES` in a folder: n-grams for a graph and for rescoring, and words.

    They have 1.4 GB, most of it the 4-gram.
    """
    for final, name in LM_FILES.items():
        download(f"11/{name}", Path(output) / final, (md5 or LM_MD5)[name], source)


def download(
    name: str, target: str | os.PathLike[str], md5: str, source: Source | None = None
) -> None:
    """Fetch MIRROR/name into `target`, continuing `target`.part, and check its MD5 sum.

    Raises:
        ValueError: no mirror can be reached or the sum is wrong (the file is removed).
    """
    source = source or Source()
    final = Path(target)
    if final.is_file():
        if _md5(final) == md5:
            return
        _log.warning("%s has a wrong checksum and is downloaded again", final)
        final.unlink()
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(final.name + ".part")
    errors = []
    for mirror in source.mirrors:
        error = _fetch(f"{mirror.rstrip('/')}/{name}", part, source)
        if error is None:
            break
        errors.append(error)
    else:
        raise ValueError(
            f"{Path(name).name} cannot be downloaded: {'; '.join(errors)}. Without a network,"
            f" download it on another machine and put it there as {final}, or use the recipe's"
            " options for files of your own (--corpus, --text_corpus, --decode_lm)"
        )
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise ValueError(
            f"{final.name}: MD5 sum {md5} expected, the download has {found}; it was removed,"
            " run the same command again"
        )
    os.replace(part, final)


def extract(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Unpack the files and folders of a .tar.gz, refusing whatever would lie outside of `folder`.

    tarfile's own filters would do, but Python 3.11 has them from 3.11.4 on only.
    """
    root = os.path.realpath(folder)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                member.name = member.name.lstrip("/")
                inside = os.path.realpath(os.path.join(root, member.name))
                if os.path.commonpath([root, inside]) != root:
                    raise tarfile.TarError(f"{member.name} is outside of the folder")
                if not (member.isfile() or member.isdir()):
                    raise tarfile.TarError(f"{member.name} is no file and no folder")
                member.mode = 0o755 if member.isdir() else 0o644
                tar.extract(member, root, set_attrs=not member.isdir())
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error}); delete it and retry") from None


def _fetch(url: str, part: Path, source: Source) -> str | None:
    """Append to `part` until the file is whole; returns what went wrong if it never is.

    A server that never sends anything is given up sooner than one that stops in between.
    """
    failures, tries = 0, min(2, source.tries)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_once(url, part, before, source.timeout):
                return None
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code in (403, 404, 410):
                return f"{url}: {error.code} {error.reason}"
            problem = f"{error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            problem = str(getattr(error, "reason", error))
        progress = part.exists() and part.stat().st_size > before
        failures = 0 if progress else failures + 1
        tries = source.tries if progress else tries
        if failures >= tries:
            return f"{url}: {problem}"
        _log.warning("%s: %s; trying again", url, problem)
        time.sleep(source.pause * 2 ** max(0, failures - 1))


def _fetch_once(url: str, part: Path, start: int, timeout: float) -> bool:
    """One request for what is missing; True if the file is whole now."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to send, if the sizes agree
            whole = error.headers.get("Content-Range", "").rpartition("/")[2]
            if whole == str(start):
                return True
            part.unlink()
            return False
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (start if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            what = f"MB of {part.name.removesuffix('.part')}"
            held, size = file.tell() / 1e6, None if total is None else total / 1e6
            with Progress(what, size, first=held) as shown:
                while block := response.read(_BLOCK):
                    file.write(block)
                    shown.advance(len(block) / 1e6)
    return total is None or part.stat().st_size >= total


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
