"""Hyper-parameters of SpeechLM: its shape, and what pre-training does to it."""

from __future__ import annotations

import dataclasses
from typing import Any

from speechlm.conventions import Framing
from speechlm.models.options import Options

CONV_LAYERS_512 = ((512, 10, 5),) + ((512, 3, 2),) * 4 + ((512, 2, 2),) * 2
"""(channels, kernel, stride) of the seven convolutions: 25 ms windows, 20 ms steps at 16 kHz."""


@dataclasses.dataclass(frozen=True)
class SpeechLMConfig(Options):
    """Shape and training behaviour of a SpeechLM.

    The defaults are those of Base in the authors' pre-training. What their fine-tunings change is
    in `egs/TEMPLATE/conf`, and in doc/paper_map.md.
    """

    conv_layers: tuple[tuple[int, int, int], ...] = CONV_LAYERS_512
    """(channels, kernel, stride) of each convolution of the waveform front end."""
    conv_norm: str = "group"
    """"group": group norm after the first convolution only (Base); "layer": after each (Large)."""
    normalize_waveform: bool = False
    """Whether each utterance is scaled to zero mean and unit variance before cropping (Large)."""
    ignore_padding: bool = False
    """False: the authors' treatment of padded batches, where zero padding enters the group norm
    and may lengthen an utterance by a frame; True: an utterance alone and in a batch agree."""
    feature_grad_mult: float = 0.1
    """Factor on the gradient that enters the front end; 0 runs it without gradient."""

    embed_dim: int = 768
    """Width D of both Transformers."""
    ffn_dim: int = 3072
    """Inner width of the feed-forward layers."""
    heads: int = 8
    """Attention heads; must divide embed_dim."""
    speech_layers: int = 6
    """Layers of the Speech Transformer."""
    shared_layers: int = 6
    """Layers of the Shared Transformer."""
    pre_norm: bool = False
    """Layer norm before each sub-layer (Large) instead of after it (Base)."""
    pos_conv_kernel: int = 128
    """Taps of the convolutional position embedding."""
    pos_conv_groups: int = 16
    """Groups of the convolutional position embedding."""
    relative_clip: int = 160
    """Relative positions (query - key) are clipped to [-clip, clip - 1] frames."""
    max_positions: int = 3000
    """Rows of the Shared Transformer's learned absolute positions; later frames share the last."""

    dropout: float = 0.1
    """Dropout on sub-layer outputs and on the encoders' inputs."""
    attention_dropout: float = 0.1
    """Dropout on attention probabilities."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward layers."""
    input_dropout: float = 0.1
    """Dropout on the projected front-end features."""
    speech_layerdrop: float = 0.1
    """Probability of skipping a layer of the Speech Transformer in training."""
    shared_layerdrop: float = 0.1
    """Probability of skipping a layer of the Shared Transformer in training."""
    ctc_dropout: float = 0.1
    """Dropout inside the character CTC head."""

    unit_dim: int = 256
    """Width of the space in which units are predicted by cosine similarity."""
    temperature: float = 0.1
    """Divisor of the cosine similarities."""
    mask_prob: float = 0.80
    """Expected share of frames in masked spans before overlaps (speech and text)."""
    mask_length: int = 10
    """Frames of one masked span."""
    swap_prob: float = 0.40
    """The same share for random swapping; only unmasked frames are swapped."""
    swap_length: int = 5
    """Frames of one swapped span."""
    label_rate: int = 100
    """Unit labels per second of speech: 100 (phoneme units, Base) or 50 (hidden units, Large)."""

    unmasked_weight: float = 0.0
    """Weight of predicting the units of unmasked frames; the paper predicts masked ones alone."""
    feature_penalty_weight: float = 10.0
    """Weight of the mean square of the front-end features."""
    text_ctc_weight: float = 0.1
    """Weight of UCTC, the CTC loss of unit sequences on characters."""

    def __post_init__(self) -> None:
        layers = tuple(tuple(int(v) for v in layer) for layer in self.conv_layers)
        object.__setattr__(self, "conv_layers", layers)
        if not layers or any(len(layer) != 3 or min(layer) < 1 for layer in layers):
            raise ValueError(
                "conv_layers: expected triples (channels, kernel, stride) of positive integers, "
                f"got {self.conv_layers!r}"
            )
        if self.conv_norm not in ("group", "layer"):
            raise ValueError(f'conv_norm: expected "group" or "layer", got {self.conv_norm!r}')
        super().__post_init__()
        for divisor in ("heads", "pos_conv_groups"):
            self.check_multiple("embed_dim", divisor)
        if self.temperature == 0:
            raise ValueError("temperature: expected a positive number, got 0")
        self.framing.labels_per_frame(self.label_rate)

    def check_share(self, name: str, value: float) -> None:
        """Refuse a share or probability above 1.

        Raises:
            ValueError: it is.
        """
        if name.endswith(("dropout", "layerdrop", "_prob")) and value > 1:
            raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")

    @property
    def framing(self) -> Framing:
        """Which samples the front end's frames are made of: 400 each, 320 apart."""
        return Framing.of_convolutions((kernel, stride) for _, kernel, stride in self.conv_layers)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.embed_dim // self.heads

    @classmethod
    def base(cls, **changes: Any) -> SpeechLMConfig:
        """The paper's Base model."""
        return cls.from_dict(changes)

    @classmethod
    def large(cls, **changes: Any) -> SpeechLMConfig:
        """The paper's Large model."""
        large = {
            "conv_norm": "layer",
            "normalize_waveform": True,
            "feature_grad_mult": 1.0,
            "embed_dim": 1024,
            "ffn_dim": 4096,
            "heads": 16,
            "speech_layers": 12,
            "shared_layers": 12,
            "pre_norm": True,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "input_dropout": 0.0,
            "speech_layerdrop": 0.0,
            "shared_layerdrop": 0.0,
            "label_rate": 50,
        }
        return cls.from_dict({**large, **changes})

    @classmethod
    def tiny(cls, **changes: Any) -> SpeechLMConfig:
        """The same mechanisms, 1.5 M weights: learns on a CPU in minutes.

        Its short masks let neighbouring frames tell the masked unit, and unmasked frames are
        predicted as well, so that the front end learns within hundreds of updates; the weights of
        text and penalty follow from the same aim.
        """
        tiny = {
            "conv_layers": ((16, 10, 5),)
            + ((32, 3, 2),) * 2
            + ((64, 3, 2),) * 2
            + ((128, 2, 2),) * 2,
            "ignore_padding": True,
            "feature_grad_mult": 1.0,
            "embed_dim": 128,
            "ffn_dim": 512,
            "heads": 4,
            "speech_layers": 2,
            "shared_layers": 2,
            "pre_norm": True,
            "pos_conv_kernel": 32,
            "unit_dim": 64,
            "dropout": 0.05,
            "attention_dropout": 0.0,
            "input_dropout": 0.0,
            "speech_layerdrop": 0.0,
            "shared_layerdrop": 0.0,
            "mask_prob": 0.4,
            "mask_length": 3,
            "swap_prob": 0.3,
            "swap_length": 2,
            "unmasked_weight": 1.0,
            "feature_penalty_weight": 1.0,
            "text_ctc_weight": 0.5,
        }
        return cls.from_dict({**tiny, **changes})

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, strings and lists, fit for YAML or JSON."""
        values = super().to_dict()
        values["conv_layers"] = [list(layer) for layer in self.conv_layers]
        return values
