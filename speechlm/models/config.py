"""Hyper-parameters of SpeechLM: its shape, and what pre-training does to it."""

from __future__ import annotations

import dataclasses
from typing import Any

from speechlm.conventions import WINDOW, Framing
from speechlm.models.options import Options

CONV_LAYERS_512 = ((512, 10, 5),) + ((512, 3, 2),) * 4 + ((512, 2, 2),) * 2
"""(channels, kernel, stride) of the seven convolutions: 25 ms windows, 20 ms steps at 16 kHz."""
ARCHITECTURES = ("paper", "fast")
MEL_SHIFT = 160
"""Samples from a log-mel frame to the next: 10 ms."""
_PAPER_ALONE = (
    *("conv_layers", "conv_norm", "pos_conv_kernel", "pos_conv_groups", "relative_clip"),
    *("max_positions", "input_dropout", "unit_dim", "temperature"),
)
"""Fields that say nothing of a fast model."""
_FAST_ALONE = (
    *("mel_channels", "mel_warp", "subsampling", "subsampling_channels", "depthwise_kernel"),
)
"""Fields that say nothing of the paper's model."""
_FAST_FIXED = {
    "normalize_waveform": False,  # the features' own mean is taken out
    "ignore_padding": True,
    "feature_grad_mult": 1.0,
    "pre_norm": True,
    "feature_penalty_weight": 0.0,
}
"""What the other fields of a fast model cannot differ in."""


class OtherArchitecture(ValueError):
    """A field, or a value, that models of this architecture do not have."""


@dataclasses.dataclass(frozen=True)
class SpeechLMConfig(Options):
    """Shape and training behaviour of a SpeechLM.

    The defaults are those of Base in the authors' pre-training. What their fine-tunings change is
    in `egs/TEMPLATE/conf`, and in doc/paper_map.md.
    """

    architecture: str = "paper"
    """"paper": waveform convolutions, relative positions, units by cosines; "fast": log-mel
    features, rotary positions, units by a softmax (doc/fast.md). Fields of the other one keep
    their defaults."""

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

    mel_channels: int = 80
    """Log-mel channels of the fast front end, 10 ms apart."""
    mel_warp: float = 0.0
    """In training each utterance's mel channels are stretched or compressed by up to this share,
    as if another speaker had said it; 0: never, 0.12 for hours of speech by few speakers."""
    subsampling: int = 4
    """Log-mel frames that become one frame of the fast model: 2 (20 ms) or 4 (40 ms)."""
    subsampling_channels: int = 512
    """Width of the convolution between the log-mel frames and the model's."""
    depthwise_kernel: int = 7
    """Taps of the depthwise convolution of each fast layer; an odd number, 1: no convolution."""

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
        self.check_multiple("embed_dim", "heads")
        self._check_architecture()
        if not self.is_fast:
            self.check_multiple("embed_dim", "pos_conv_groups")
        if self.temperature == 0:
            raise ValueError("temperature: expected a positive number, got 0")
        self.framing.labels_per_frame(self.label_rate)

    def _check_architecture(self) -> None:
        """ValueError: no such architecture, or a shape that a fast model cannot have.

        OtherArchitecture: a field that the other one has, or a value that this one lacks.
        """
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f'architecture: expected "paper" or "fast", got {self.architecture!r}')
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in self._of_the_other():
            if getattr(self, name) != defaults[name]:
                raise OtherArchitecture(
                    f"{name}: a model of architecture {self.architecture} has none, got "
                    f"{getattr(self, name)!r}; leave it out"
                )
        if not self.is_fast:
            return
        for name, value in _FAST_FIXED.items():
            if getattr(self, name) != value:
                raise OtherArchitecture(
                    f"{name}: a model of architecture fast has {value!r}, got "
                    f"{getattr(self, name)!r}"
                )
        if self.mel_warp > 0.5:
            raise ValueError(f"mel_warp: expected a share in [0, 0.5], got {self.mel_warp!r}")
        if self.subsampling not in (2, 4):
            raise ValueError(f"subsampling: expected 2 or 4, got {self.subsampling!r}")
        if self.depthwise_kernel % 2 == 0:
            raise ValueError(
                f"depthwise_kernel: expected an odd number, got {self.depthwise_kernel!r}"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"heads: rotary positions want heads of an even width, got {self.head_dim} "
                f"(embed_dim {self.embed_dim} / heads {self.heads})"
            )

    def _of_the_other(self) -> tuple[str, ...]:
        """Fields that say nothing of this architecture."""
        return _PAPER_ALONE if self.is_fast else _FAST_ALONE

    @property
    def is_fast(self) -> bool:
        """Whether this is SpeechLM-Fast and not the paper's model."""
        return self.architecture == "fast"

    @property
    def ctc_outputs(self) -> int:
        """CTC outputs a frame: frames of 40 ms have two, as fast speech has a letter each."""
        return self.subsampling // 2 if self.is_fast else 1

    def check_share(self, name: str, value: float) -> None:
        """Refuse a share or probability above 1.

        Raises:
            ValueError: it is.
        """
        if name.endswith(("dropout", "layerdrop", "_prob")) and value > 1:
            raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")

    @property
    def framing(self) -> Framing:
        """Which samples the front end's frames are made of: 400 each, 320 apart, in the paper.

        Those of a fast model are made of 2 or 4 log-mel windows of 25 ms, 10 ms apart. (They see
        more of these windows on each side: of 2 three before and four after, of 4 four and five.)
        """
        if self.is_fast:
            return Framing(
                WINDOW + (self.subsampling - 1) * MEL_SHIFT, self.subsampling * MEL_SHIFT
            )
        return Framing.of_convolutions((kernel, stride) for _, kernel, stride in self.conv_layers)

    @property
    def ctc_framing(self) -> Framing:
        """Which samples the outputs of the CTC head are made of."""
        return dataclasses.replace(self.framing, parts=self.ctc_outputs)

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

    @classmethod
    def fast_base(cls, **changes: Any) -> SpeechLMConfig:
        """SpeechLM-Fast of Base's width and depth."""
        fast = {
            "architecture": "fast",
            **_FAST_FIXED,
            "heads": 12,
            "attention_dropout": 0.0,
            "speech_layerdrop": 0.05,
            "shared_layerdrop": 0.05,
            "mask_length": 5,
            "swap_length": 3,
        }
        return cls.from_dict({**fast, **changes})

    @classmethod
    def fast_large(cls, **changes: Any) -> SpeechLMConfig:
        """SpeechLM-Fast of Large's width and depth."""
        large = {
            "embed_dim": 1024,
            "ffn_dim": 4096,
            "heads": 16,
            "speech_layers": 12,
            "shared_layers": 12,
        }
        return cls.fast_base(**{**large, **changes})

    @classmethod
    def fast_tiny(cls, **changes: Any) -> SpeechLMConfig:
        """SpeechLM-Fast for CPUs, the counterpart of `tiny`."""
        tiny = {
            "subsampling_channels": 128,
            "embed_dim": 128,
            "ffn_dim": 512,
            "heads": 4,
            "speech_layers": 2,
            "shared_layers": 2,
            "dropout": 0.0,
            "speech_layerdrop": 0.0,
            "shared_layerdrop": 0.0,
            "mask_prob": 0.2,
            "mask_length": 2,
            "swap_prob": 0.3,
            "swap_length": 2,
            "unmasked_weight": 1.0,
            "text_ctc_weight": 0.5,
        }
        return cls.fast_base(**{**tiny, **changes})

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, strings and lists, fit for YAML or JSON.

        Without those of the other architecture; one of the paper's is not named, so that what was
        written before there was another can be compared.
        """
        values = super().to_dict()
        values["conv_layers"] = [list(layer) for layer in self.conv_layers]
        without = (*self._of_the_other(), *(() if self.is_fast else ("architecture",)))
        return {name: value for name, value in values.items() if name not in without}
