"""Features for hidden units: MFCC, or a layer of a SpeechLM or of a Hugging Face model.

Frame t of MFCC and of Hugging Face's models is made of the samples from 320 t to 320 t + 400, so
that there are (n_samples - 400) // 320 + 1 of them: 50 a second. A SpeechLM's are those of its
front end: the same in the paper's models, 25 a second of 880 samples in a fast one of 40 ms.

T frames, D dimensions. An utterance is computed alone, so that its features are the same,
bit by bit, in whatever job and beside whatever other utterances.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE, WINDOW, Framing
from speechlm.data.archives import n_labels

KINDS = ("mfcc", "speechlm", "huggingface")
MFCC_DIM = 39
N_CEPS, N_MELS = 13, 23
CHUNK = 100.0
"""Seconds that a model sees at a time, at most; longer utterances are cut evenly."""


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """What features are; stored beside them and inside of a k-means model."""

    kind: str
    """One of KINDS."""
    dim: int
    """D."""
    layer: int | None = None
    """Transformer layer, from 1; its raw output, before any final norm."""
    normalize: bool = False
    """Whether waveforms are scaled to zero mean and unit variance first."""
    weights: str | None = None
    """SHA-256 of the weights that the features follow from."""
    model: str | None = None
    """Where the model was; not compared."""
    window: int = WINDOW
    """Samples that a frame is made of."""

    def check_same(self, other: FeatureConfig, ours: str, theirs: str) -> None:
        """Make sure that two files (`ours` and `theirs`, for the message) hold the same features.

        Raises:
            ValueError: they differ; the message says in what.
        """
        names = [f.name for f in dataclasses.fields(self) if f.name != "model"]
        differ = [n for n in names if getattr(self, n) != getattr(other, n)]
        if differ:
            pairs = (f"{n} {getattr(self, n)} and {getattr(other, n)}" for n in differ)
            raise ValueError(
                f"{ours} and {theirs} belong to different features: {'; '.join(pairs)} "
                f"(models {self.model} and {other.model}); use those of the same features"
            )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> FeatureConfig:
        """What `to_json` wrote; `source` is the file, for messages.

        Raises:
            ValueError: the text is no such line.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: no description of features ({error})") from None


@dataclasses.dataclass(frozen=True)
class FeatureSource:
    """A way from waveforms (n_samples,) in [-1, 1] at 16 kHz to features (T, D) float32."""

    config: FeatureConfig
    compute: Callable[[np.ndarray], np.ndarray]
    framing: Framing = PAPER_FRAMING
    """Which samples the frames are made of."""

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(n_samples,) waveform -> (T, D) features.

        Raises:
            ValueError: less than a frame.
        """
        least = self.framing.window
        if len(waveform) < least:
            raise ValueError(f"at least {least} samples expected, got {len(waveform)}")
        return self.compute(waveform)


def open_features(
    kind: str,
    model: str | os.PathLike[str] | None = None,
    layer: int | None = None,
    device: str = "cpu",
) -> FeatureSource:
    """The features of a kind.

    Args:
        kind: one of KINDS, or "model": what the folder holds, a SpeechLM or another.
        model: folder of a SpeechLM, or folder or hub name of a Hugging Face model.
        layer: number of a Transformer layer, from 1.
        device: torch device of a model.

    Raises:
        ValueError: a model or layer is missing or superfluous, or the model cannot be used.
    """
    if kind not in (*KINDS, "model"):
        raise ValueError(f"features: one of {', '.join(KINDS)} expected, got {kind!r}")
    if kind == "mfcc":
        if model is not None or layer is not None:
            raise ValueError("MFCC come from no model: --model and --layer do not belong to them")
        return FeatureSource(FeatureConfig("mfcc", MFCC_DIM), mfcc)
    if model is None or layer is None:
        raise ValueError(f"features of kind {kind} need a model and the number of a layer")
    if kind == "model":
        from speechlm.checkpoints.model_dir import is_speechlm

        kind = "speechlm" if is_speechlm(model) else "huggingface"
    maker = _open_speechlm if kind == "speechlm" else _open_huggingface
    return maker(str(model), layer, device)


def reopen_features(
    config: FeatureConfig, source: str, model: str | None = None, device: str = "cpu"
) -> FeatureSource:
    """The features that `config` (read from file `source`) describes.

    `model` is where the model is now, if it has moved.

    Raises:
        ValueError: it is another model.
    """
    opened = open_features(config.kind, model or config.model, config.layer, device)
    config.check_same(opened.config, source, str(opened.config.model))
    return opened


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """(n_samples,) -> (T, 39): 13 mel cepstra with first and second deltas.

    As in the first iteration of HuBERT (Hsu et al. 2021): Kaldi's cepstra, 23 mel bins,
    25 ms windows, 10 ms steps, C0 instead of the energy, no normalisation, deltas over +-2 frames.
    Theirs are clustered at 100 Hz; here every second frame is kept, after the deltas, which is the
    one with the window of the front end's frame.
    """
    import kaldi_native_fbank as knf

    from speechlm.recognizer.features import deltas

    options = knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.snip_edges = True
    options.num_ceps, options.mel_opts.num_bins = N_CEPS, N_MELS
    options.use_energy = False
    extractor = knf.OnlineMfcc(options)
    extractor.accept_waveform(SAMPLE_RATE, waveform.astype(np.float32) * 32768.0)
    extractor.input_finished()
    count = n_labels(len(waveform))
    frames = np.array([extractor.get_frame(t) for t in range(count)], dtype=np.float32)
    return deltas(frames)[::2]


def chunks(n_samples: int, framing: Framing, longest: float = CHUNK) -> Iterator[tuple[int, int]]:
    """(first sample, one past the last) of parts with the frames of about equally long times.

    Each part ends with the window of its last frame, so that the frames of all parts together are
    those of the whole: with windows of 400 samples every 320, neighbours overlap by 80.

    Args:
        n_samples: of the whole.
        framing: of the model.
        longest: seconds from the first frame of a part to that of the next, at most.
    """
    count = framing.frames(n_samples)
    parts = -(-count // int(longest * framing.rate))
    bounds = [count * i // parts for i in range(parts + 1)]
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        yield first * framing.shift, (n_samples if last == count else framing.samples(last))


def _open_speechlm(folder: str, layer: int, device: str) -> FeatureSource:
    import torch

    from speechlm.checkpoints.pretrained import SpeechLM
    from speechlm.decode.extract import check_layer

    model = SpeechLM.from_pretrained(folder, ignore_padding=True)
    config, framing = model.config, model.framing
    number = int(check_layer(layer, config))
    del model.encoder.layers[number:]  # what comes later is not needed; one layer must remain
    del model.unit_encoder.layers[max(1, number - config.speech_layers) :]
    used = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("feature_extractor.", "layer_norm.", "post_extract_proj.", "encoder."))
        or (number > config.speech_layers and name.startswith("unit_encoder."))
    }
    used = {n: v for n, v in used.items() if not n.endswith(("embed_tokens.weight", "version"))}
    model.to(device)

    def compute(waveform: np.ndarray) -> np.ndarray:
        found = []
        for first, last in chunks(len(waveform), framing):
            batch = torch.from_numpy(waveform[None, first:last]).to(device)
            layers, _ = model.extract_features(batch, None, "all")
            found.append(layers[number - 1][0].float().cpu().numpy())
        return np.concatenate(found)

    description = FeatureConfig(
        kind="speechlm",
        dim=config.embed_dim,
        layer=number,
        normalize=config.normalize_waveform,
        weights=fingerprint(used),
        model=folder,
        window=framing.window,
    )
    return FeatureSource(description, compute, framing)


def _open_huggingface(name: str, layer: int, device: str) -> FeatureSource:
    """Source of the numbering: hidden_states[n] of transformers is the output of layer n."""
    import torch

    from speechlm.checkpoints.huggingface import load_huggingface

    model, normalize = load_huggingface(name)
    config, found = model.config, []
    if not 1 <= layer <= config.num_hidden_layers:
        raise ValueError(
            f"{name}: a layer from 1 to {config.num_hidden_layers} expected, got {layer}"
        )
    if getattr(config, "add_adapter", False):
        config.add_adapter = False
        model.adapter = None
    del model.encoder.layers[layer:]
    model.encoder.layers[-1].register_forward_hook(
        lambda module, inputs, output: found.append(output[0] if type(output) is tuple else output)
    )
    model.to(device)

    @torch.no_grad()
    def compute(waveform: np.ndarray) -> np.ndarray:
        parts = []
        scaled = normalized(waveform) if normalize else waveform
        for first, last in chunks(len(waveform), PAPER_FRAMING):
            model(torch.from_numpy(scaled[None, first:last]).to(device))
            parts.append(found.pop()[0].float().cpu().numpy())
        return np.concatenate(parts)

    description = FeatureConfig(
        "huggingface", config.hidden_size, layer, normalize, fingerprint(model.state_dict()), name
    )
    return FeatureSource(description, compute)


def normalized(waveform: np.ndarray) -> np.ndarray:
    """(n_samples,) with zero mean and unit variance, as wav2vec 2.0's large models want it."""
    scaled = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    return scaled.astype(np.float32)


def fingerprint(weights: Mapping[str, Any]) -> str:
    """SHA-256 of tensors with their names, whatever their order and the file's format."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.flatten().numpy().data)
    return digest.hexdigest()
