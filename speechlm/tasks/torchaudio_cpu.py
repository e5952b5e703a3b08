"""Make ESPnet importable beside a CPU build of PyTorch, without noise.

Two things happen when ``espnet2`` is imported that this module takes care of:

- ESPnet imports torchaudio, whose wheel is a CUDA build; beside a CPU torch its compiled part
  cannot be loaded. Its pure-torch parts are all that is used, so a stand-in takes the place of
  ``torchaudio._extension``.
- ESPnet imports g2p_en, which tries to download NLTK data at import and prints its failures.
  Nothing here needs that data.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable

import torch


def _without_extension(function: Callable) -> Callable:
    def unavailable(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError(
            f"torchaudio's {function.__name__} needs torchaudio's compiled part, which a CPU "
            "build of torch cannot load"
        )

    return unavailable


def _stand_in() -> types.ModuleType:
    module = types.ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module._load_lib = lambda _name: False
    module.fail_if_no_align = _without_extension
    return module


def _import_g2p_quietly() -> None:
    if "g2p_en" in sys.modules or importlib.util.find_spec("g2p_en") is None:
        return
    import nltk

    download = nltk.download
    nltk.download = lambda *_args, **_kwargs: False
    try:
        import g2p_en  # noqa: F401
    finally:
        nltk.download = download


def prepare() -> None:
    """Install the torchaudio stand-in where it is needed and silence NLTK; safe to call twice.

    Must run before the first import of ``espnet2``; importing ``speechlm.tasks`` does it.
    """
    if torch.version.cuda is None and "torchaudio" not in sys.modules:
        sys.modules["torchaudio._extension"] = _stand_in()
    _import_g2p_quietly()
