"""A SpeechLM as an upstream of s3prl, SUPERB's toolkit. Needs no s3prl.

B batch, S samples (16 kHz), T frames, D model width, L layers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechlm.checkpoints.pretrained import SpeechLM
from speechlm.conventions import Framing
from speechlm.data.atomic import write_text
from speechlm.data.whole_files import read_lines
from speechlm.models.inputs import check_speech
from speechlm.models.without_heads import without_heads

NAME = "speechlm"
"""Name of the upstream."""
FILES = {
    "__init__.py": "",
    "hubconf.py": f"from speechlm.checkpoints.s3prl_upstream import open_upstream as {NAME}\n",
    "expert.py": "from speechlm.checkpoints.s3prl_upstream import UpstreamExpert\n",
}
"""What s3prl expects in the folder of an upstream."""
_IMPORT = f"from s3prl.upstream.{NAME}.hubconf import *"


class UpstreamExpert(nn.Module):
    """Waveforms to the outputs of all layers, as the authors gave them to SUPERB.

    They are the L layer outputs, without final norms, and without what enters layer 1. Padding of
    the batch changes no utterance, and no layer is dropped in training, so that there are always L.

    Args:
        ckpt: folder of the model.
        kwargs: what s3prl gives to every upstream (`model_config`, `refresh`, ...); not used.

    Raises:
        ValueError: the folder holds no SpeechLM.
    """

    def __init__(self, ckpt: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        super().__init__()
        if ckpt is None:
            raise ValueError("ckpt: folder of a SpeechLM expected (run_downstream.py -k FOLDER)")
        kept: dict[str, Any] = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0}
        self.model = without_heads(SpeechLM.from_pretrained(ckpt, ignore_padding=True, **kept))

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples from a frame to the next, whatever the features' name `key` is."""
        return self.model.framing.shift

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Waveforms (S,), of any lengths -> `hidden_states`, L of (B, T, D), and each by its name.

        Gradient flows where the caller has it enabled.

        Raises:
            ValueError: there is no waveform, or one of another shape or type, on another device, or
                with samples that are no finite numbers.
        """
        if strangers := [type(wav).__name__ for wav in wavs if not isinstance(wav, Tensor)]:
            raise ValueError(f"wavs: a list of torch.Tensor expected, got {', '.join(strangers)}")
        odd = [tuple(wav.shape) for wav in wavs if wav.dim() != 1 or not len(wav)]
        if odd or len(wavs) == 0:
            raise ValueError(f"wavs: waveforms of shape (samples,) expected, got {odd or 'none'}")
        wavs = [lengthened(wav, self.model.framing) for wav in wavs]
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        weight = self.model.mask_emb
        like = weight.float() if self.model.config.is_fast else weight  # as in extract_features
        batch, valid = check_speech(
            pad_sequence(list(wavs), batch_first=True), lengths, self.model.framing, like
        )
        encoded = self.model.encode(batch, valid)
        named = {f"hidden_state_{n}": layer for n, layer in enumerate(encoded.layers)}
        return {"hidden_states": encoded.layers, "last_hidden_state": encoded.features, **named}


def open_upstream(ckpt: str | os.PathLike[str] | None = None, **kwargs: Any) -> UpstreamExpert:
    """What `s3prl.hub` calls; arguments as in `UpstreamExpert`."""
    return UpstreamExpert(ckpt, **kwargs)


def lengthened(wav: Tensor, framing: Framing) -> Tensor:
    """A waveform (S,), with zeros at its end if it is so short that s3prl would refuse its frames.

    s3prl expects ceil(S / shift) frames, and takes fewer only if they are more than half of them.
    """
    samples = wav.shape[0]
    expected = -(-samples // framing.shift)
    if 2 * framing.frames(samples) > expected:
        return wav
    return nn.functional.pad(wav, (0, framing.samples(expected) - samples))


def install(s3prl: str | os.PathLike[str]) -> Path:
    """Put the upstream into a clone of s3prl or into its installed package.

    Args:
        s3prl: the clone, or the folder of the package in it.

    Returns:
        The folder of the upstream.

    Raises:
        ValueError: that is no s3prl.
    """
    package = Path(s3prl)
    if (package / "s3prl" / "hub.py").is_file():
        package = package / "s3prl"
    hub = package / "hub.py"
    if not (hub.is_file() and (package / "upstream").is_dir()):
        raise ValueError(f"{s3prl}: a clone of s3prl or its package (hub.py, upstream) expected")
    lines = read_lines(hub, "imports of upstreams")
    last = max((n for n, line in enumerate(lines) if line.startswith("from s3prl.")), default=None)
    if last is None:
        raise ValueError(f"{hub}: lines `from s3prl.upstream. ... import *` expected, found none")
    folder = package / "upstream" / NAME
    for name, text in FILES.items():
        write_text(folder / name, text)
    if _IMPORT not in lines:
        lines.insert(last + 1, _IMPORT)
        write_text(hub, "".join(f"{line}\n" for line in lines))
    return folder
