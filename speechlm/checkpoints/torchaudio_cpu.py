"""Import of torchaudio beside a CPU build of PyTorch, for transformers and ESPnet, which import it.

torchaudio's wheel is a CUDA build, whose compiled part a CPU torch cannot load. Only the parts in
Python are used here: torchaudio is imported as if its compiled part had not been installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

_UTILS = "torchaudio._extension.utils"


def import_torchaudio() -> None:
    """Import torchaudio if it is there, without its compiled part where that cannot be loaded."""
    if importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except OSError:
        utils: Any = sys.modules.get(_UTILS)
        if not hasattr(utils, "_LIB_DIR"):
            raise
        for name in [n for n in sys.modules if n.startswith("torchaudio.")]:
            del sys.modules[name]
        utils._LIB_DIR = Path(os.devnull)  # where it finds no compiled part, and does without
        sys.modules[_UTILS] = utils
        importlib.import_module("torchaudio")._extension.utils = utils
