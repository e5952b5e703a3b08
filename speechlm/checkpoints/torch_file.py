"""Reading files of `torch.save` (zip and the older format) without running what they hold.

The objects come back as plain containers, inert records (see `inert_pickle`) and `StoredTensor`,
which are read from the file when asked for: the optimiser's state of a checkpoint costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from speechlm.checkpoints import inert_pickle
from speechlm.checkpoints.inert_pickle import Fixed, Function
from speechlm.data.whole_files import DamagedFile, damage

_ZIP_START = b"PK\x03\x04"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # torch's marks of the older format
_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _STORAGES.values()}
_MAX_PICKLE = 1 << 28  # bytes
_LARGEST = 1 << 63
_ZIP_ERRORS = (
    KeyError,
    OSError,
    EOFError,
    RuntimeError,  # and of these NotImplementedError, of versions that no zip file has
    UnicodeDecodeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True)
class _StorageType(Fixed):
    name: str
    dtype: torch.dtype


@dataclasses.dataclass
class _Storage(Fixed):
    key: str
    kind: _StorageType
    count: int
    """Elements."""
    start: int = 0
    """First element in the stored block (the older format has views of blocks)."""


@dataclasses.dataclass
class StoredTensor(Fixed):
    """A tensor of a file: where it lies and its shape."""

    storage: _Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    name = "torch.Tensor"

    def check(self, source: str) -> None:
        """Make sure that the tensor lies inside of its storage.

        Raises:
            ValueError: it does not.
        """
        numbers = (self.offset, *self.shape, *self.stride)
        good = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
        if good and len(self.shape) == len(self.stride):
            size = math.prod(self.shape)
            steps = zip(self.shape, self.stride, strict=True)
            # element (i_1, ..) is number offset + sum_d i_d stride_d; the last has i_d = n_d - 1
            last = self.offset + sum((n - 1) * step for n, step in steps)
            if size == 0 or (size <= self.storage.count and last < self.storage.count):
                return
        raise ValueError(
            f"{source} is damaged: a tensor of shape {self.shape}, steps {self.stride} from "
            f"{self.offset} does not fit into its {self.storage.count} stored numbers"
        )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor without storage, but with {type(storage).__name__}")
    # numbers alone: what is nested may be without end where a message shows it
    return StoredTensor(
        storage, storage.kind.dtype, _whole(offset), _whole_numbers(shape), _whole_numbers(stride)
    )


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or len(values) > inert_pickle.MAX_DIMENSIONS:
        raise ValueError(f"a tensor whose sizes are {type(values).__name__}")
    return tuple(map(_whole, values))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or not -_LARGEST < value < _LARGEST:
        raise ValueError(f"a tensor one of whose sizes is {type(value).__name__}, or too large")
    return value


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


_REBUILD = {
    "_rebuild_tensor": Function(_rebuild_tensor),
    "_rebuild_tensor_v2": Function(_rebuild_tensor),
    "_rebuild_parameter": Function(_rebuild_parameter),
    "_rebuild_parameter_with_state": Function(_rebuild_parameter),
}


def _torch_names(module: str, name: str) -> Any:
    """Storages, types and functions that rebuild tensors; None for another name."""
    if module == "torch._utils":
        return _REBUILD.get(name)
    if module in ("torch", "torch.storage", "torch.cuda") and name.endswith("Storage"):
        kind = name.removesuffix("Storage")
        return _StorageType(name, _STORAGES[kind]) if kind in _STORAGES else None
    return _DTYPES.get(name) if module == "torch" else None


class TorchFile:
    """An open file of torch.save: `content`, and `read(tensor)` for the tensors in it.

        with TorchFile("checkpoint.pt") as file:
            weight = file.read(file.content["model"]["mask_emb"])

    Raises:
        ValueError: the file is no such file, truncated, damaged, or asks for a function or class
            that it has no reason to ask for.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.source = Path(path), str(path)
        if wrong := damage(path):
            raise DamagedFile(f"{path} {wrong}; copy or download the checkpoint again")
        self._file = self.path.open("rb")
        self._zip: zipfile.ZipFile | None = None
        self._places: dict[str, tuple[int, int]] = {}
        """Of the older format: first byte and length of each stored block."""
        self._cache: tuple[str, bytearray] = ("", bytearray())
        try:
            self.content = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._zip is not None:
            self._zip.close()
        self._file.close()

    def read(self, tensor: StoredTensor) -> Tensor:
        """The tensor, contiguous, with a memory of its own."""
        tensor.check(self.source)
        if math.prod(tensor.shape) == 0:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        # the whole storage as one row, then the shape laid over it, then a copy of that alone
        flat = torch.frombuffer(self._block(tensor.storage), dtype=tensor.dtype)
        offset = tensor.storage.start + tensor.offset
        return flat.as_strided(tensor.shape, tensor.stride, offset).clone().contiguous()

    def _open(self) -> Any:
        start = self._file.read(len(_ZIP_START))
        self._file.seek(0)
        return self._open_zip() if start == _ZIP_START else self._open_older()

    def _open_zip(self) -> Any:
        # A zip archive with one folder, of any name:
        #
        #   NAME/data.pkl     the objects; a tensor is a storage's key, offset, shape, strides
        #   NAME/data/KEY     the bytes of each storage
        #   NAME/byteorder    little or big (newer versions)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from None
        names = self._zip.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            shown = ", ".join(names[:3])
            raise ValueError(f"{self.source} is a zip file, but no checkpoint (it has {shown})")
        self._root = pickles[0].removesuffix("data.pkl")
        if self._root + "constants.pkl" in names:
            raise ValueError(f"{self.source} is a TorchScript program, not a checkpoint of weights")
        if self._root + "byteorder" in names and self._record("byteorder", 16) != b"little":
            raise ValueError(f"{self.source} was written on a big-endian machine: not supported")
        # torch.save packs nothing: what is larger than the file is a small file that fills memory
        most = min(_MAX_PICKLE, self.path.stat().st_size)
        if self._zip.getinfo(pickles[0]).file_size > most:
            raise ValueError(f"{self.source}: its objects take more than {most} bytes")
        try:
            objects = self._zip.open(pickles[0])
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from None
        with objects as file:
            return self._load(file)

    def _damaged(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split())[:200]
        return ValueError(
            f"{self.source} is truncated or damaged ({reason}); copy or download it again"
        )

    def _open_older(self) -> Any:
        # Pickles one after the other, then blocks of bytes:
        #
        #   magic | protocol | system | objects | keys | count bytes | count bytes | ...
        #
        # The objects' references say of which type a storage is, the list of keys in which order
        # the blocks come, and each block begins with its number of elements, int64.
        try:
            magic = self._load(self._file)
        except ValueError as error:
            if " asks for " in str(error):
                raise
            raise ValueError(
                f"{self.source} is no checkpoint, or truncated or damaged near its"
                " beginning; give the file as it was published, or download it again"
            ) from None
        if magic != _MAGIC:
            raise ValueError(f"{self.source} is no file of torch.save")
        if self._load(self._file) != _PROTOCOL:
            raise ValueError(f"{self.source} has a version of the file format that is not known")
        system = self._load(self._file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError(f"{self.source} was written on a big-endian machine: not supported")
        self._sizes: dict[str, int] = {}
        content = self._load(self._file)
        keys = self._load(self._file)
        texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not texts or not set(keys) <= self._sizes.keys():
            raise ValueError(f"{self.source} is damaged: its list of tensors is wrong")
        end = self.path.stat().st_size
        for key in keys:
            # only the place of each block is noted: nothing is read before it is asked for
            count, place = self._file.read(8), self._file.tell()
            length = struct.unpack("<q", count)[0] * self._sizes[key] if len(count) == 8 else -1
            if not 0 <= length <= end - place:
                raise ValueError(f"{self.source} is truncated; copy or download it again")
            self._places[key] = (place, length)
            self._file.seek(length, os.SEEK_CUR)
        return content

    def _load(self, file: BinaryIO | Any) -> Any:
        return inert_pickle.load(file, self.source, _torch_names, self._persistent)

    def _persistent(self, pid: Any) -> _Storage:
        """("storage", type, key, device, count[, view]) -> where it lies."""
        wrong = ValueError(f"{self.source} is damaged: a reference to no tensor's storage")
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise wrong
        if not (isinstance(pid[1], _StorageType) and isinstance(pid[2], str | int)):
            raise wrong
        kind, key, count, start = pid[1], str(pid[2]), pid[4], 0
        if self._zip is None:
            self._sizes[key] = _element_size(kind)
        # older format: (key of the view, first element, number) of a part of the block
        if len(pid) == 6 and pid[5] is not None:
            _, start, count = pid[5]
        if not all(isinstance(n, int) and 0 <= n < _LARGEST for n in (start, count)):
            raise wrong
        return _Storage(key, kind, count, start)

    def _block(self, storage: _Storage) -> bytearray:
        """The bytes of a storage; the last one asked for is kept."""
        if self._cache[0] != storage.key:
            self._cache = ("", bytearray())
            self._cache = (storage.key, bytearray(self._read_block(storage.key)))
        block = self._cache[1]
        if len(block) < (storage.start + storage.count) * _element_size(storage.kind):
            raise ValueError(
                f"{self.source} is truncated or damaged: {storage.count} numbers of "
                f"{storage.kind.name} expected in block {storage.key}, found {len(block)} bytes"
            )
        return block

    def _read_block(self, key: str) -> bytes:
        if self._zip is not None:
            return self._record(f"data/{key}", self.path.stat().st_size)
        if key not in self._places:
            raise ValueError(f"{self.source} is damaged: tensor data {key} is missing")
        place, length = self._places[key]
        self._file.seek(place)
        return self._file.read(length)

    def _record(self, name: str, limit: int) -> bytes:
        assert self._zip is not None
        try:
            if self._zip.getinfo(self._root + name).file_size > limit:
                raise ValueError(f"{self.source}: {name} in it is larger than it can be")
            return self._zip.read(self._root + name)
        except _ZIP_ERRORS as error:
            raise ValueError(
                f"{self.source} is truncated or damaged: {name} in it cannot be read ({error})"
            ) from None


def _element_size(kind: _StorageType) -> int:
    return torch.empty((), dtype=kind.dtype).element_size()
