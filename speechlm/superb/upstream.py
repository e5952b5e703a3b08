"""What is judged: a frozen network's layers, or filter banks or cepstra to compare with.

S samples (16 kHz), T frames, L layers, D width of a layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE, WINDOW, Framing
from speechlm.recognizer.features import with_slopes
from speechlm.tokenizers.speech_features import chunks, fingerprint, normalized

ACOUSTIC = ("fbank", "mfcc")
"""Features that no network makes."""
RANDOM = "random:"
"""Before a model: its network with random weights."""
_FRAMING = Framing(WINDOW, 160)
_MELS, _CEPSTRA = 80, 13
_SEED = 1


@dataclasses.dataclass(frozen=True)
class Description:
    """What an upstream is; stored beside its features."""

    kind: str
    """fbank, mfcc, speechlm or huggingface; random: before it, of random weights."""
    layers: int
    dim: int
    window: int
    """Samples that a frame is made of."""
    shift: int
    """Samples from a frame to the next."""
    weights: str = ""
    """SHA-256 of the weights."""
    model: str = ""
    """Where the model was; not compared."""

    @property
    def framing(self) -> Framing:
        """Which samples the frames are made of."""
        return Framing(self.window, self.shift)

    def same_as(self, other: Description) -> bool:
        """Whether two are the same, wherever they were."""
        return dataclasses.replace(self, model="") == dataclasses.replace(other, model="")


@dataclasses.dataclass(frozen=True)
class Upstream:
    """A way from waveforms to layers."""

    description: Description
    compute: Callable[[np.ndarray], np.ndarray]
    """(S,) in [-1, 1] -> (T, L, D) float32."""

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(S,) -> (T, L, D).

        Raises:
            ValueError: less than a frame, or a layer that is no finite number.
        """
        least = self.description.window
        if len(waveform) < least:
            raise ValueError(f"at least a frame of {least} samples expected, got {len(waveform)}")
        layers = self.compute(waveform)
        if not np.isfinite(layers).all():
            raise ValueError("layers of finite numbers expected; the model gives others")
        return layers


def open_upstream(name: str, device: str = "cpu") -> Upstream:
    """Open `fbank`, `mfcc`, the folder of a model, or `random:FOLDER`.

    Raises:
        ValueError: the folder holds no model that gives layers.
    """
    if name in ACOUSTIC:
        return _acoustic(name)
    from speechlm.checkpoints.model_dir import is_speechlm

    model, random = name.removeprefix(RANDOM), name.startswith(RANDOM)
    opener = _speechlm if is_speechlm(model) else _huggingface
    return opener(model, random, device)


def _acoustic(kind: str) -> Upstream:
    """Filter banks or cepstra every 10 ms with two deltas, of zero mean and unit variance.

    As in s3prl: the statistics are those of the utterance.
    """
    import kaldi_native_fbank as knf

    options = knf.FbankOptions() if kind == "fbank" else knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = SAMPLE_RATE
    if kind == "fbank":
        options.mel_opts.num_bins = _MELS
    else:
        options.num_ceps, options.use_energy = _CEPSTRA, False
    size = _MELS if kind == "fbank" else _CEPSTRA

    def compute(waveform: np.ndarray) -> np.ndarray:
        extractor = (knf.OnlineFbank if kind == "fbank" else knf.OnlineMfcc)(options)
        extractor.accept_waveform(SAMPLE_RATE, waveform.astype(np.float32) * 32768.0)
        extractor.input_finished()
        count = _FRAMING.frames(len(waveform))
        frames = with_slopes(np.array([extractor.get_frame(t) for t in range(count)], np.float32))
        return ((frames - frames.mean(0)) / np.maximum(frames.std(0), 1e-6))[:, None]

    return Upstream(Description(kind, 1, 3 * size, WINDOW, _FRAMING.shift), compute)


def _speechlm(folder: str, random: bool, device: str) -> Upstream:
    """The outputs of all layers of both Transformers; not the input of the first."""
    import torch

    from speechlm.checkpoints.model_dir import read_description
    from speechlm.checkpoints.pretrained import SpeechLM

    model: Any
    if random:
        torch.manual_seed(_SEED)
        model = read_description(folder).build(SpeechLM).eval()
    else:
        model = SpeechLM.from_pretrained(folder, ignore_padding=True)
    model.to(device)

    def compute(waveform: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(waveform[None]).to(device)
        layers, _ = model.extract_features(batch, None, "all")
        return torch.stack(layers, 2)[0].float().cpu().numpy()

    config, framing = model.config, model.framing
    return _network(
        Description(
            f"{RANDOM if random else ''}speechlm",
            config.speech_layers + config.shared_layers,
            config.embed_dim,
            framing.window,
            framing.shift,
            fingerprint(_floats(model)),
            folder,
        ),
        compute,
        framing,
    )


def _huggingface(name: str, random: bool, device: str) -> Upstream:
    """The outputs of all layers; transformers puts the input of the first before them."""
    import torch

    from speechlm.checkpoints.huggingface import load_huggingface

    model, normalize = load_huggingface(name)
    if random:
        import transformers

        torch.manual_seed(_SEED)
        model = transformers.AutoModel.from_config(model.config).eval()
    model.to(device)

    @torch.no_grad()
    def compute(waveform: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(normalized(waveform) if normalize else waveform)[None]
        states = model(batch.to(device), output_hidden_states=True).hidden_states
        return torch.stack(states[1:], 2)[0].float().cpu().numpy()

    return _network(
        Description(
            f"{RANDOM if random else ''}huggingface",
            model.config.num_hidden_layers,
            model.config.hidden_size,
            PAPER_FRAMING.window,
            PAPER_FRAMING.shift,
            fingerprint(_floats(model)),
            name,
        ),
        compute,
        PAPER_FRAMING,
    )


def _network(
    description: Description, compute: Callable[[np.ndarray], np.ndarray], framing: Framing
) -> Upstream:
    """An upstream that sees long recordings in parts, as attention grows with their square."""

    def in_parts(waveform: np.ndarray) -> np.ndarray:
        parts = [compute(waveform[a:b]) for a, b in chunks(len(waveform), framing)]
        return np.concatenate(parts)

    return Upstream(description, in_parts)


def _floats(model: Any) -> dict[str, Any]:
    """The weights of a network, without what is only derived from its sizes."""
    return {name: v for name, v in model.state_dict().items() if v.is_floating_point()}
