"""Make ESPnet importable beside a CPU build of PyTorch, quietly and in less time.

Three things happen when ``espnet2`` is imported that this module takes care of:

- ESPnet imports torchaudio, whose wheel is a CUDA build; beside a CPU torch its compiled part
  cannot be loaded. Its pure-torch parts are all that is used, so a stand-in takes the place of
  ``torchaudio._extension``.
- ESPnet imports g2p_en, which tries to download NLTK data at import and prints its failures.
  Nothing here needs it: its import is put off until something of it is used.
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
    module = types.ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module._load_lib = lambda _name: False
    module.fail_if_no_align = _without_extension
    return module


class _LateG2p(types.ModuleType):
    """g2p_en, whose contents are imported when first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name != "G2p":
            raise AttributeError(f"module 'g2p_en' has no attribute {name!r}")
        return importlib.import_module("g2p_en.g2p").G2p


def _put_off_g2p() -> None:
    if "g2p_en" in sys.modules:
        return
    spec = importlib.util.find_spec("g2p_en")
    if spec is None:
        return
    module = _LateG2p("g2p_en")
    module.__spec__ = spec
    module.__path__ = spec.submodule_search_locations
    sys.modules["g2p_en"] = module


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

    Must run before the first import of ``espnet2``; importing ``speechlm.tasks`` does it.
    """
    if torch.version.cuda is None and "torchaudio" not in sys.modules:
        sys.modules["torchaudio._extension"] = _torchaudio_stand_in()
    _put_off_g2p()
    _put_off_adapters()
    warnings.filterwarnings("ignore", message=r"`torch\.cuda\.amp\.", category=FutureWarning)
