"""Kaldi archives: int32 vectors of unit labels (V,) and float matrices of features (T, D).

A folder holds `NAME.JOB.ark` and `NAME.JOB.scp` of each job, the merged and sorted `NAME.scp`,
and, for frame labels, `frame_shift` (seconds) and `tokens.txt` (one symbol a line, the line
number from 0 is the label); for hidden units also `tokens.origin`, which clustering they are of,
and the jobs' `origin.JOB`. scp lines are `id path:offset`; a path that is not there is looked for
beside the scp, so that a folder can be moved.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import kaldiio
import numpy as np
from kaldiio import matio

from speechlm.conventions import SAMPLE_RATE, WINDOW, Count, Framing
from speechlm.data.ark_vectors import HEADER, LABEL, Vector, write_vectors
from speechlm.data.atomic import output_file, write_text
from speechlm.data.disk import naming
from speechlm.data.kaldi_dir import read_table
from speechlm.data.table_blocks import merge_tables
from speechlm.data.vocabulary import UnitVocabulary, write_origin, write_tokens
from speechlm.data.whole_files import DamagedFile, damage, read_lines

TOKENS = "tokens.txt"
"""Name of the list of symbols inside a folder of units."""
_PORTION = 1 << 22  # bytes of an index that are read at a time


def n_labels(n_samples: Count, frame_shift: float = 0.01) -> Count:
    """Number of frame labels of an utterance, or of several: (n_samples - 400) // shift + 1."""
    return Framing(WINDOW, round(frame_shift * SAMPLE_RATE)).frames(n_samples)


def fit_to_audio(array: np.ndarray, expected: int, where: str, what: str = "labels") -> np.ndarray:
    """Labels (V,) or features (V, D) as `expected` ones.

    Other programs round the number of frames in other ways: one too many is cut off at the end,
    one too few repeats the last.

    Raises:
        ValueError: more are too many or too few; names `where` and both lengths.
    """
    difference = expected - len(array)
    if abs(difference) > 1 or (difference == 1 and not len(array)):
        raise ValueError(
            f"{where}: {expected} {what} are expected of its audio (one more or less is allowed), "
            f"found {len(array)}; make them again from this audio"
        )
    return np.concatenate([array, array[-1:]]) if difference == 1 else array[:expected]


class ArchiveWriter:
    """Writes one job's archive.

    Its files appear when the block ends well:

        with ArchiveWriter(folder, "units", job=3) as writer:
            writer.write("103-1240-0000", labels)
    """

    def __init__(self, folder: str | os.PathLike[str], name: str = "units", job: int = 1) -> None:
        self.ark = Path(folder) / f"{name}.{job}.ark"
        self._positions: dict[str, str] = {}
        self._vectors: list[Vector] = []
        self._stack = ExitStack()

    def __enter__(self) -> ArchiveWriter:
        self._scp_path = self._stack.enter_context(output_file(self.ark.with_suffix(".scp")))
        temporary = self._stack.enter_context(output_file(self.ark))
        self._file = self._stack.enter_context(temporary.open("wb"))
        return self

    def write(self, utterance: str, array: np.ndarray) -> None:
        """Append (V,) integers, kept as int32, or (T, D) floats, kept as float32."""
        if utterance in self._positions:
            raise ValueError(f"{self.ark}: {utterance} is written twice")
        if not utterance or any(c.isspace() for c in utterance):
            raise ValueError(f"{self.ark}: an id without white space expected, got {utterance!r}")
        offset = self._file.tell() + len(utterance.encode()) + 1
        values = _kaldi_array(array, self.ark, utterance)
        kaldiio.save_ark(self._file, {utterance: values})
        self._positions[utterance] = f"{self.ark}:{offset}"
        if values.ndim == 1:
            ends = (int(values.min()), int(values.max())) if len(values) else (0, 0)
            self._vectors.append(Vector(offset, len(values), *ends))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is not None:
                raise error  # the stack removes the files, and names them where the disk is full
            scp_path = self.ark.with_suffix(".scp")
            with naming(scp_path), self._scp_path.open("w", encoding="utf-8") as scp:
                scp.writelines(f"{u} {self._positions[u]}\n" for u in sorted(self._positions))
        if self._vectors:
            write_vectors(self.ark, self._vectors)


class ArchiveReader(Mapping[str, np.ndarray]):
    """Random access to the arrays of an scp file; only the index is in memory."""

    def __init__(self, scp: str | os.PathLike[str]) -> None:
        self.scp = Path(scp)
        if not self.scp.is_file():
            raise ValueError(f"archive index expected, but {self.scp} is not there")
        self._index = read_table(self.scp)

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __contains__(self, utterance: object) -> bool:
        return utterance in self._index

    def __getitem__(self, utterance: str) -> np.ndarray:
        """(V,) int32 or (T, D) float32.

        Raises:
            KeyError: an unknown id.
            ValueError: bad data.
        """
        entry = self._index[utterance]
        path, _, offset = entry.rpartition(":")
        if not path or not offset.isdigit():
            raise ValueError(f"{self.scp}: `path:offset` expected for {utterance}, got {entry!r}")
        ark = Path(path)
        if not ark.is_file():
            ark = self.scp.parent / ark.name
        if not ark.is_file():
            raise ValueError(f"{self.scp}: archive {path} of {utterance} is not there")
        return read_array(ark, int(offset), utterance)


def read_array(ark: Path, offset: int, utterance: str) -> np.ndarray:
    """The array of an utterance at a byte of an archive: (V,) int32 or (T, D) float32.

    Raises:
        ValueError: there is none, or the archive is damaged.
    """
    try:
        with ark.open("rb") as file:
            file.seek(offset)
            return _read_array(file, f"{ark}: {utterance} at byte {offset}")
    except ValueError:
        if wrong := damage(ark):
            raise DamagedFile(f"{ark} {wrong}; write the archive again") from None
        raise


def merge_archives(folder: str | os.PathLike[str], n_jobs: int, name: str = "units") -> int:
    """Write the sorted NAME.scp of NAME.1.scp ... NAME.n.scp; returns the number of arrays.

    An index that names its archive by another folder is written anew: jobs write into folders of
    their own, whose files are moved when all have ended.

    Raises:
        ValueError: a job's index is missing, an id is in two of them, or they hold clusters of
            different clusterings.
    """
    parts = [Path(folder) / f"{name}.{job}.scp" for job in range(1, n_jobs + 1)]
    for job, part in enumerate(parts, 1):
        if not part.is_file():
            raise ValueError(f"{part} expected, but job {job} of {n_jobs} has not written it")
        _name_by_place(part)
    with output_file(Path(folder) / f"{name}.scp") as path:
        with path.open("wb") as file:
            n = merge_tables(parts, file)
        if name == "units":  # an index that is there is of one clustering
            _merge_origins(Path(folder), n_jobs)
    return n


def _name_by_place(scp: Path) -> None:
    """Let a job's index name the archive beside it, which was moved together with it."""
    ark = scp.with_suffix(".ark")
    with scp.open("rb") as file:
        before = file.readline().partition(b" ")[2].rpartition(b":")[0]
        if not before or before == os.fsencode(ark) or not ark.is_file():
            return
        if os.path.basename(before) != os.fsencode(ark.name) or os.path.exists(before):
            return
        file.seek(0)
        old, new = b" " + before + b":", b" " + os.fsencode(ark) + b":"
        with output_file(scp) as path, path.open("wb") as moved:
            while lines := file.readlines(_PORTION):
                moved.write(b"".join(lines).replace(old, new))


def read_skipped(folder: str | os.PathLike[str], n_jobs: int) -> dict[str, str]:
    """{id: reason} of the utterances that jobs have left out (their files skipped.JOB, if any)."""
    skipped: dict[str, str] = {}
    for job in range(1, n_jobs + 1):
        path = Path(folder) / f"skipped.{job}"
        if path.is_file():
            skipped.update(read_table(path))
    return skipped


def write_frame_shift(folder: str | os.PathLike[str], seconds: float) -> None:
    """Write `frame_shift`, the seconds from a frame to the next, beside the archives."""
    write_text(Path(folder) / "frame_shift", f"{seconds:g}\n")


def read_frame_shift(folder: str | os.PathLike[str]) -> float:
    """Read `frame_shift`.

    Raises:
        ValueError: it is not there, or says no seconds.
    """
    path = Path(folder) / "frame_shift"
    text = " ".join(read_lines(path, "seconds"))
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{path}: seconds expected, got {text[:60]!r}") from None
    check_frame_shift(seconds, str(path))
    return seconds


def check_frame_shift(seconds: float, where: str) -> None:
    """Make sure that a frame lasts a sample or more, and a second at most.

    Args:
        seconds: from a frame to the next.
        where: a file or an option, for the message.

    Raises:
        ValueError: it does not.
    """
    if not 1 / SAMPLE_RATE <= seconds <= 1:
        raise ValueError(
            f"{where}: seconds from a label to the next, such as 0.01 or 0.02, expected,"
            f" got {seconds:g}"
        )


def write_unit_info(
    folder: str | os.PathLike[str],
    frame_shift: float,
    tokens: Sequence[str],
    origin: str | None = None,
) -> None:
    """Write `frame_shift` (seconds), `tokens.txt` and `tokens.origin` beside the archives."""
    write_frame_shift(folder, frame_shift)
    write_tokens(Path(folder) / TOKENS, tokens)
    write_origin(Path(folder) / TOKENS, origin)


def write_job_origin(folder: str | os.PathLike[str], job: int, origin: str) -> None:
    """Write a job's `origin.JOB`, which `merge_archives` compares with those of the others."""
    write_text(Path(folder) / f"origin.{job}", f"{origin}\n")


def _merge_origins(folder: Path, n_jobs: int) -> None:
    """Make `tokens.origin` of the jobs' files, or remove it if there are none."""
    jobs: dict[str | None, int] = {}
    for job in range(1, n_jobs + 1):
        path = folder / f"origin.{job}"
        jobs.setdefault(path.read_text(encoding="utf-8").strip() if path.is_file() else None, job)
    if len(jobs) > 1:
        shown = ", ".join(f"job {job}: {origin or 'not known'}" for origin, job in jobs.items())
        raise ValueError(
            f"{folder}: the jobs have labelled with different clusterings ({shown}); "
            "run all of them with one k-means model"
        )
    write_origin(folder / TOKENS, *jobs)


def read_unit_info(folder: str | os.PathLike[str]) -> tuple[float, UnitVocabulary]:
    """Read (frame shift in seconds, units).

    Raises:
        ValueError: one is missing or damaged.
    """
    for name in ("frame_shift", TOKENS):
        file = Path(folder) / name
        if not file.is_file():
            raise ValueError(f"{file} expected, but it is not there: no units in {folder}")
    return read_frame_shift(folder), UnitVocabulary.read(Path(folder) / TOKENS)


def _kaldi_array(array: np.ndarray, ark: Path, utterance: str) -> np.ndarray:
    values = np.asarray(array)
    if values.ndim == 1 and values.dtype.kind in "iu":
        narrow = values.astype(np.int32)
        if not np.array_equal(narrow, values):
            raise ValueError(f"{ark}: labels of {utterance} do not fit into 32 bits")
        return narrow
    if values.ndim == 2 and values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    raise ValueError(
        f"{ark}: {utterance} must be a vector of integers or a matrix of floats,"
        f" got shape {values.shape} of {values.dtype}"
    )


def _read_array(file, where: str) -> np.ndarray:
    """Binary Kaldi vectors and matrices only; kaldiio would also unpickle or run what it finds."""
    if (head := file.read(HEADER))[:2] != b"\0B":
        raise ValueError(f"{where}: no binary Kaldi array is there; write the archive again")
    if head[2:3] == b"\4":  # a vector of integers of four bytes
        return _read_labels(file, head, where)
    file.seek(-len(head), os.SEEK_CUR)
    try:
        array = matio.read_kaldi(file)
    except (
        struct.error,
        AssertionError,
        ValueError,
        EOFError,
        OSError,
        OverflowError,  # of sizes that no file has
        MemoryError,
    ) as error:
        seeks_too_far = isinstance(error, OSError) and error.errno == errno.EINVAL
        if isinstance(error, OSError) and not seeks_too_far:
            raise
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"{where}: truncated or damaged archive ({reason})") from None
    if array.ndim != 2:  # and kaldiio takes a vector that is cut off for a shorter one
        raise ValueError(f"{where}: a matrix or a vector of integers expected, not one of floats")
    return array


def _read_labels(file, head: bytes, where: str) -> np.ndarray:
    """A vector of integers behind its header, at once; kaldiio reads them one by one.

    Raises:
        ValueError: it ends too early, or has what are no integers of four bytes.
    """
    count = int.from_bytes(head[3:], "little", signed=True)
    wrong = f"{where}: truncated or damaged archive"
    if len(head) < HEADER or count < 0:
        raise ValueError(f"{wrong} (no number of labels)")
    # not more than there is: a damaged number is no reason to ask for gigabytes of memory
    data = file.read(min(count * LABEL.itemsize, os.fstat(file.fileno()).st_size))
    if len(data) < count * LABEL.itemsize:
        found = len(data) // LABEL.itemsize
        raise ValueError(f"{wrong} ({count} labels promised, found {found})")
    labels = np.frombuffer(data, LABEL)
    if (labels["size"] != 4).any():
        raise ValueError(f"{wrong} (labels of four bytes expected)")
    return labels["value"].astype(np.int32)
