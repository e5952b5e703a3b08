"""Make ESPnet importable beside a CPU build of PyTorch, quietly and in less time.

Three things happen when `espnet2` is imported that this module takes care of:

- ESPnet imports torchaudio, whose wheel is a CUDA build; beside a CPU torch its compiled part
  cannot be loaded. Its pure-torch parts are all that is used, so a stand-in takes the place of
  `torchaudio._extension`.
- ESPnet imports g2p_en, which tries to download NLTK data at import and prints its failures,
  and a text cleaner; both are slow to import and not needed here. Their import is put off until
  something of them is used.
- ESPnet imports transformers for its adapters (LoRA, Houlsby). That is put off as well: a
  training that uses an adapter imports it then.

The last two save half of the import time.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch

_ADAPTERS = "espnet2.layers.create_adapter_fn"


def _without_extension(function: Callable) -> Callable:
    def unavailable(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError(
            f"torchaudio's {function.__name__} needs torchaudio's compiled part, which a CPU "
            "build of torch cannot load"
        )

    return unavailable


def _torchaudio_stand_in() -> types.ModuleType:
    module: Any = types.ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module._load_lib = lambda _name: False
    module.fail_if_no_align = _without_extension
    return module


_PUT_OFF = {
    "g2p_en": {"G2p": "g2p_en.g2p"},
    "tacotron_cleaner": {},
    "tacotron_cleaner.cleaners": {"custom_english_cleaners": "tacotron_cleaner.cleaners"},
}
"""Modules whose import is put off, and the modules that have what ESPnet asks them for."""


class _Late(types.ModuleType):
    """A module whose contents are imported when first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name not in _PUT_OFF[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        source = _PUT_OFF[self.__name__][name]
        if sys.modules.get(source) is self:
            del sys.modules[source]
        return getattr(importlib.import_module(source), name)


def _put_off(name: str) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        return
    module = _Late(name)
    module.__spec__ = spec
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _put_off_adapters() -> None:
    if _ADAPTERS in sys.modules:
        return
    stand_in = types.ModuleType(_ADAPTERS)

    def put_off(name: str) -> Callable:
        def create(*args: Any, **kwargs: Any) -> Any:
            if sys.modules.get(_ADAPTERS) is stand_in:
                del sys.modules[_ADAPTERS]
            return getattr(importlib.import_module(_ADAPTERS), name)(*args, **kwargs)

        return create

    for name in ("create_lora_adapter", "create_houlsby_adapter"):
        setattr(stand_in, name, put_off(name))
    sys.modules[_ADAPTERS] = stand_in


def prepare() -> None:
    """Do the three things above; safe to call twice.

    Must run before the first import of `espnet2`; importing `speechlm.tasks` does it.
    """
    if torch.version.cuda is None and "torchaudio" not in sys.modules:
        sys.modules["torchaudio._extension"] = _torchaudio_stand_in()
    for name in _PUT_OFF:
        _put_off(name)
    _put_off_adapters()
    warnings.filterwarnings("ignore", message=r"`torch\.cuda\.amp\.", category=FutureWarning)
