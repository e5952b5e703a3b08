"""Speech from espeak-ng's library, as bundled by the wheel espeakng-loader.

The library keeps state from one utterance to the next (phases, random flutter), so each one is
made in a child process forked from the same untouched state, with its own seed: the samples
depend on nothing but the arguments. Source of the interface: espeak-ng/src/include/espeak-ng.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np

RATE = 22050
DIALECTS = (
    *("en-us", "en", "en-gb-x-rp", "en-us-nyc", "en-gb-scotland"),
    *("en-gb-x-gbcwmd", "en-gb-x-gbclan", "en-029"),
)
_UNNATURAL = re.compile(r"robo|whisper|demonic|croak|fast|tweaky|anxious", re.IGNORECASE)
_SYNCHRONOUS, _NO_EXIT, _UTF8 = 2, 0x8000, 1
_SPEED, _PITCH = 1, 3
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def variants() -> list[tuple[str, str]]:
    """(name, M or F) of the voice variants that sound like people, sorted."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_text(encoding="utf-8", errors="replace")
        if not _UNNATURAL.search(path.name):
            found.append((path.name, "F" if re.search(r"^gender\s+female", content, re.M) else "M"))
    return found


class Synthesizer:
    """The library in its initial state. One instance a process; it never speaks itself."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _NO_EXIT)
        if rate != RATE:
            raise ValueError(f"espeak-ng at {RATE} Hz expected, its initialisation gave {rate}")

    def say(self, text: str, voice: str, speed: int, pitch: int, seed: int) -> np.ndarray:
        """(S,) int16 at 22,050 Hz. `speed` in words a minute, `pitch` 0..99.

        Raises:
            ValueError: the voice does not exist or gives no sound.
        """
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reader)
                with os.fdopen(writer, "wb") as pipe:
                    pipe.write(self._speak(text, voice, speed, pitch, seed))
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            samples = np.frombuffer(pipe.read(), np.int16)
        _, status = os.waitpid(child, 0)
        if status or not samples.any():
            raise ValueError(f"espeak-ng made no sound of {text!r} with the voice {voice}")
        return samples

    def _speak(self, text: str, voice: str, speed: int, pitch: int, seed: int) -> bytes:
        pieces: list[bytes] = []

        def collect(samples: Any, n: int, _events: object) -> int:
            if samples and n > 0:
                pieces.append(ctypes.string_at(samples, 2 * n))
            return 0

        callback = _Callback(collect)
        self._library.espeak_SetSynthCallback(callback)
        if self._library.espeak_SetVoiceByName(voice.encode()):
            return b""
        self._library.espeak_SetParameter(_SPEED, speed, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        encoded = text.encode()
        size = ctypes.c_size_t(len(encoded) + 1)
        self._library.espeak_Synth(encoded, size, 0, 1, 0, _UTF8, None, None)
        return b"".join(pieces)
