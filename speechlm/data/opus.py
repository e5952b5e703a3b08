"""Speech as a small file that browsers play: Opus in Ogg."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from speechlm.conventions import SAMPLE_RATE


def encode_opus(waveform: np.ndarray) -> bytes:
    """An Ogg file with a waveform (S,) in -1..1 at 16 kHz, about 4 kB a second.

    What is beyond -1..1 is clipped.
    """
    file = io.BytesIO()
    samples = np.clip(waveform, -1.0, 1.0)
    soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="OPUS")
    return file.getvalue()
