"""Import ESPnet beside a CPU build of PyTorch, quietly and in less time.

Importing `espnet2` as it is fails or is slow for five reasons, each of which has a remedy here:

- torchaudio's wheel is a CUDA build, which a CPU torch cannot load: see `torchaudio_cpu`.
- g2p_en tries to download NLTK data at import and prints its failures; g2p_en and tacotron_cleaner
  take five seconds. Their modules are there at once, and run when something of them is used.
- ESPnet's adapters (LoRA, Houlsby) import transformers. Only ESPnet's `abs_task` gets a function
  that imports them when it is called; whoever else asks for the adapters gets ESPnet's own.
- ESPnet's tokenizers of large language models, and parts of its recognition task, import
  transformers, which takes as long as all the rest. They get its classes when they first use one.
- ESPnet has typeguard compile each of its functions anew, with checks of types. It is left alone
  with ESPnet's functions; those of others are checked as before.

The last four save two thirds of the import time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typeguard

from speechlm.checkpoints.torchaudio_cpu import import_torchaudio

PUT_OFF = ("g2p_en", "tacotron_cleaner", "tacotron_cleaner.cleaners")
"""Modules that run when something of them is first used; a package before its modules."""
_ADAPTER = "espnet2.layers.create_adapter"
_WITH_TRANSFORMERS = "espnet2.train.preprocessor"


class _LateModule(types.ModuleType):
    """A module that runs when something of it is first asked for.

    `importlib.util.LazyLoader` would not do: it runs a module also for `__file__` and the like,
    for which `inspect` asks every module that there is.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self._run()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._run()
        return dir(self)

    def _run(self) -> None:
        module: Any = self
        module.__class__ = types.ModuleType  # it looks things up in itself while it runs
        try:
            module.__spec__.loader.exec_module(self)
        except BaseException:
            module.__class__ = _LateModule  # the next use says again what is wrong
            raise


def put_off(name: str) -> None:
    """Put a module that has not run yet into `sys.modules`, if it is installed and not there.

    A package comes before its modules; those of a package that is not there are left out.
    """
    parent, _, child = name.rpartition(".")
    if name in sys.modules or (parent and parent not in sys.modules):
        return
    if (spec := importlib.util.find_spec(name)) is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _LateModule
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], child, module)


@contextmanager
def _adapters_later() -> Iterator[None]:
    """Whoever imports `create_adapter` in the block gets a function that imports it when called."""
    if _ADAPTER in sys.modules:
        yield
        return

    def create_adapter(*args: Any, **kwargs: Any) -> None:
        importlib.import_module(_ADAPTER).create_adapter(*args, **kwargs)

    stand_in: Any = types.ModuleType(_ADAPTER)
    stand_in.create_adapter = create_adapter
    sys.modules[_ADAPTER] = stand_in
    try:
        yield
    finally:
        del sys.modules[_ADAPTER]


def _imported(module: str, name: str) -> Any:
    """A class of transformers.

    Raises:
        ImportError: it is asked for while ESPnet is being imported.
    """
    found = getattr(importlib.import_module(module), name)
    if isinstance(found, _LateClass):
        raise ImportError(f"{module}.{name} is not there before ESPnet's import has ended")
    return found


class _LateClass:
    """A class of transformers, imported when something of it, or it itself, is wanted."""

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _imported(*self._place)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_place":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(_imported(*self._place), name)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, _imported(*self._place))

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, _imported(*self._place))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type]:
        return (_imported(*self._place),)

    def __reduce__(self) -> tuple[Any, ...]:
        return _imported, self._place

    def __or__(self, other: Any) -> Any:
        return _imported(*self._place) | other

    def __ror__(self, other: Any) -> Any:
        return other | _imported(*self._place)

    def __eq__(self, other: object) -> bool:
        return bool(_imported(*self._place) == other)

    def __hash__(self) -> int:
        return hash(_imported(*self._place))


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds transformers and its modules, whatever their names, as modules of `_LateClass`es.

    Only in the thread that made it: others get the real ones.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        """A stand-in's, or None for modules of others."""
        if name.partition(".")[0] != "transformers" or threading.get_ident() != self.thread:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs; what is asked for is a late class."""

        def late(name: str) -> _LateClass:
            if name.startswith("__"):
                raise AttributeError(name)
            return _LateClass(module.__name__, name)

        module.__getattr__ = late  # type: ignore[method-assign]


@contextmanager
def transformers_later() -> Iterator[None]:
    """Whoever imports a class of transformers in the block gets it when it is first used."""
    if "transformers" in sys.modules or importlib.util.find_spec("transformers") is None:
        yield
        return
    finder = _StandIns()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
            del sys.modules[name]


def _leave_espnet_unchecked() -> None:
    """Have `typeguard.typechecked` give ESPnet's functions and classes back as they are."""
    checked = typeguard.typechecked
    if getattr(checked, "_leaves_espnet", False):
        return

    @functools.wraps(checked)
    def typechecked(target: Any = None, **options: Any) -> Any:
        if target is None:
            return functools.partial(typechecked, **options)
        if (getattr(target, "__module__", None) or "").partition(".")[0] in ("espnet", "espnet2"):
            return target
        return checked(target, **options)

    typechecked._leaves_espnet = True  # type: ignore[attr-defined]
    typeguard.typechecked = typechecked


def import_espnet() -> None:
    """Import `espnet2.tasks.abs_task`, on which all tasks build, with the remedies above.

    Importing `speechlm.tasks` does it; a second call does nothing.
    """
    import_torchaudio()
    _leave_espnet_unchecked()
    for name in PUT_OFF:
        put_off(name)
    with _adapters_later():
        importlib.import_module("espnet2.tasks.abs_task")
    with transformers_later():
        importlib.import_module(_WITH_TRANSFORMERS)
