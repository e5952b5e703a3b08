"""Reading pickles of other programs without running anything that they name.

A pickle may ask for any function of any installed module to be called. Here it gets none: names
on a short list become inert records (`Record`) that only remember what they were given, tensors
become descriptions for the caller to look up, and every other name is refused. No module is
imported and nothing of the file is called.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, ClassVar

PACKAGES = ("fairseq", "omegaconf", "speechlm", "typing")
"""Packages whose classes, whatever they are, may be named: they become records."""
NAMES = {
    "argparse": ("Namespace",),
    "builtins": (
        "bool",
        "bytes",
        "complex",
        "dict",
        "float",
        "int",
        "list",
        "object",
        "set",
        "frozenset",
        "str",
        "tuple",
        "long",
        "unicode",
    ),
    "collections": ("Counter", "OrderedDict", "defaultdict"),
    "_operator": ("getitem",),
    "_codecs": ("encode",),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "pathlib": ("Path", "PosixPath", "PurePosixPath"),
    "sentencepiece": ("SentencePieceProcessor",),
    "torch": ("Size", "device"),
}
"""Further names that become records, dictionaries or tuples."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTERPOLATION = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
_MAX_VALUES = 1_000_000
_LOAD: dict[int, Callable[[Any], None]] = {**pickle._Unpickler.dispatch}
"""What Python does for each instruction of a pickle."""
MAX_DIMENSIONS = 64
"""Of a tensor; torch has no more."""


class Record:
    """An object of a class that is not there: its name, the arguments and state it was given."""

    name = "record"
    args: tuple[Any, ...]
    state: dict[Any, Any]
    items: dict[Any, Any]
    values: list[Any]

    # What a pickle's instructions do to an object, and where it arrives here:
    #
    #   GLOBAL module name          Unpickler.find_class         the class
    #   REDUCE, NEWOBJ, OBJ args    __new__                      a call: an object of arguments
    #   BUILD state                 __setstate__                 attributes: a dict or (dict, slots)
    #   SETITEM(S) key value        __setitem__                  entries of a kind of dict
    #   APPEND(S) value             append, extend               elements of a kind of list
    #   (BIN)PERSID id              Unpickler.persistent_load    what is stored outside the pickle
    def __new__(cls, *args: Any, **kwargs: Any) -> Record:
        record = super().__new__(cls)
        record.__dict__.update(args=args, state={}, items={}, values=[])
        return record

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """What a pickle does to objects that are lists."""
        self.values.append(value)

    def extend(self, values: Any) -> None:
        """What a pickle does to objects that are lists."""
        self.values.extend(values)


class Mapping(dict):
    """OrderedDict, defaultdict and Counter: a dictionary; attributes are ignored."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        for part in args:
            if isinstance(part, dict):
                self.update(part)
            elif isinstance(part, list):  # OrderedDict's own form: a list of pairs
                for key, value in part:
                    _check_key(key)
                    self[key] = value

    def __setstate__(self, state: Any) -> None:
        pass


class Fixed:
    """Base of what a pickle gets to use but may not change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"state for {type(self).__name__}, which has none")


class Function(Fixed):
    """Stands for a function of the program that wrote the pickle."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """What it does here."""
        return self._call(*args)


def _shape(values: Sequence[Any] = ()) -> tuple[int, ...]:
    if len(values) > MAX_DIMENSIONS:
        raise ValueError(f"a shape of {len(values)} dimensions")
    return tuple(int(value) for value in values)


_size = Function(_shape)


def _refuse_bytes(unpickler: object) -> None:
    raise ValueError("an array of bytes, for which memory would be taken before it is there")


def _check_key(key: Any) -> None:
    """Refuse tuples of tuples as keys.

    Each may hold the one before twice: Python computes the hash of a tuple from all that is in it,
    and 40 such tuples, a file of 100 bytes, would take hours.
    """
    if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
        raise ValueError("a key of nested tuples")


def _checked(unpickler: Any, load: Callable[[Any], None], step: int) -> None:
    """Fill a dictionary or a set when its keys, each `step` things on the stack, are checked."""
    for key in unpickler.stack[::step]:
        _check_key(key)
    load(unpickler)


def _set_item(unpickler: Any) -> None:
    _check_key(unpickler.stack[-2])
    _LOAD[pickle.SETITEM[0]](unpickler)


class InertUnpickler(pickle._Unpickler):
    """Unpickler whose names come from the lists above and from `extra`.

    It is the one that Python keeps in Python: that in C takes memory for as many objects as a
    single number of the file says (8 bytes can ask for 64 GB), this one for those that are there.

    Args:
        file: open for reading bytes.
        source: name of the file, for messages.
        extra: (module, name) -> an object to use, or None.
        persistent: what a persistent id (a tensor's storage) stands for.
    """

    def __init__(
        self,
        file: BinaryIO,
        source: str,
        extra: Callable[[str, str], Any] = lambda module, name: None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file)
        self.source, self.extra, self.persistent = source, extra, persistent
        self._classes: dict[str, type[Record]] = {}

    dispatch: ClassVar = {
        **_LOAD,
        pickle.BYTEARRAY8[0]: _refuse_bytes,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: partial(_checked, load=_LOAD[pickle.SETITEMS[0]], step=2),
        pickle.DICT[0]: partial(_checked, load=_LOAD[pickle.DICT[0]], step=2),
        pickle.ADDITEMS[0]: partial(_checked, load=_LOAD[pickle.ADDITEMS[0]], step=1),
        pickle.FROZENSET[0]: partial(_checked, load=_LOAD[pickle.FROZENSET[0]], step=1),
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name.

        Raises:
            ValueError: a name that is on no list.
        """
        module = {"__builtin__": "builtins"}.get(module, module)
        found = self.extra(module, name)
        if found is not None:
            return found
        package = module.partition(".")[0]
        # `a.b` as a name would let a pickle reach from one of these names to another
        plain = _IDENTIFIER.fullmatch(name) and all(map(_IDENTIFIER.fullmatch, module.split(".")))
        if not plain or not (package in PACKAGES or name in NAMES.get(module, ())):
            asked = ascii(f"{module[:80]}.{name[:80]}")[1:-1]
            raise ValueError(
                f"{self.source} asks for {asked}, which no checkpoint of a SpeechLM needs;"
                " it was not loaded and nothing of it was run. Get the file from its authors again"
            )
        if module == "collections":
            return Mapping
        if (module, name) == ("torch", "Size"):
            return _size
        full = f"{module}.{name}"
        # one class for each name, so that two objects of the same class are of the same type here
        return self._classes.setdefault(full, type(name, (Record,), {"name": full}))

    def persistent_load(self, pid: Any) -> Any:
        """A tensor's storage."""
        if self.persistent is None:
            raise ValueError(f"{self.source}: unexpected reference of type {type(pid).__name__}")
        return self.persistent(pid)


def load(
    file: BinaryIO,
    source: str,
    extra: Callable[[str, str], Any] = lambda module, name: None,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The next pickle of a file, see `InertUnpickler`.

    Raises:
        ValueError: it is damaged or hostile.
    """
    try:
        return InertUnpickler(file, source, extra, persistent).load()
    except ValueError as error:
        if str(error).startswith(source):
            raise
        raise ValueError(f"{source} is truncated or damaged ({error})") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = f"{type(error).__name__}: {error}"[:200]
        raise ValueError(f"{source} is truncated, damaged or no checkpoint ({reason})") from None


def plain(value: Any, source: str) -> Any:
    """Records as the plain values they hold: dictionaries, lists, tuples, strings and numbers.

    omegaconf's containers and nodes, whose interpolations are resolved, argparse's Namespace and
    enumerations are understood; another object becomes its name in angle brackets.

    Raises:
        ValueError: more than a million values, or values nested without end.
    """
    try:
        return _Plain(source).convert(value)
    except RecursionError:
        raise ValueError(f"{source}: its configuration is nested without end") from None


class _Plain:
    def __init__(self, source: str) -> None:
        self.source, self.count = source, 0

    def _tick(self) -> None:
        self.count += 1
        if self.count > _MAX_VALUES:
            raise ValueError(f"{self.source}: its configuration has more than a million values")

    def convert(self, value: Any) -> Any:
        self._tick()
        if isinstance(value, Record):
            return self._record(value)
        if isinstance(value, dict):
            return {self._key(key): self.convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.convert(item) for item in value)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        return f"<{getattr(value, 'name', type(value).__name__)}>"

    def _key(self, key: Any) -> Any:
        return key if isinstance(key, str | int | float | bool) else str(self.convert(key))

    def _record(self, record: Record) -> Any:
        package = record.name.partition(".")[0]
        if record.name == "argparse.Namespace":
            return self.convert(record.state)
        if package == "omegaconf" and "_content" in record.state:
            content = self.convert(record.state["_content"])
            is_root = record.state.get("_parent") is None
            return self._resolve(content, content) if is_root else content
        if package == "omegaconf" and "_val" in record.state:
            return self.convert(record.state["_val"])
        if len(record.args) == 1 and not record.state and not record.items:  # an enumeration
            return self.convert(record.args[0])
        return f"<{record.name}>"

    def _resolve(self, value: Any, root: Any) -> Any:
        """Replace strings `${a.b.c}` by the value at that place of the root."""
        self._tick()
        if isinstance(value, dict):
            return {key: self._resolve(item, root) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item, root) for item in value]
        found = _INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
        if not found:
            return value
        target = root
        for part in found[1].split("."):
            if not isinstance(target, dict) or part not in target:
                return value
            target = target[part]
        return self._resolve(target, root)
