"""Import ESPnet beside a CPU build of PyTorch, quietly and in less time.

Importing `espnet2` as it is fails or is slow for three reasons, each of which has a remedy here:

- torchaudio's wheel is a CUDA build, which a CPU torch cannot load: see `torchaudio_cpu`.
- g2p_en tries to download NLTK data at import and prints its failures; g2p_en and tacotron_cleaner
  take five seconds. Their modules are there at once, and run when something of them is used.
- ESPnet's adapters (LoRA, Houlsby) import transformers. Only ESPnet's `abs_task` gets a function
  that imports them when it is called; whoever else asks for the adapters gets ESPnet's own.

The last two save more than half of the import time.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from speechlm.checkpoints.torchaudio_cpu import import_torchaudio

PUT_OFF = ("g2p_en", "tacotron_cleaner", "tacotron_cleaner.cleaners")
"""Modules that run when something of them is first used; a package before its modules."""
_ADAPTER = "espnet2.layers.create_adapter"


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

    A module of a package needs the package to be there already.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _LateModule
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
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


def import_espnet() -> None:
    """Import `espnet2.tasks.abs_task`, on which all tasks build, with the three remedies above.

    Importing `speechlm.tasks` does it; a second call does nothing.
    """
    import_torchaudio()
    for name in PUT_OFF:
        put_off(name)
    with _adapters_later():
        importlib.import_module("espnet2.tasks.abs_task")
