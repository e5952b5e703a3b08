"""The front end of SpeechLM-Fast: log-mel features, subsampled by two convolutions.

B batch, S samples (16 kHz), L log-mel frames (10 ms), M mel channels, T frames of 20 or 40 ms, C
channels. The features are computed in the model, so that it reads waveforms as the paper's does.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import SAMPLE_RATE, WINDOW, Framing
from speechlm.kernels.products import affine, compute_type
from speechlm.models.config import MEL_SHIFT, SpeechLMConfig
from speechlm.models.front_end import FrontEnd
from speechlm.models.inputs import to_device

FFT = 512
"""Points of the Fourier transform of a window of 400 samples."""
LOWEST, HIGHEST = 20.0, 7600.0
"""Hz between which the mel triangles lie."""
PREEMPHASIS = 0.97
FLOOR = 1e-10
"""Smallest energy of a channel before the logarithm; samples are in [-1, 1]."""
SPREAD = 3.0
"""What log energies are divided by: about their standard deviation in speech."""
LOUD = 3.0 * math.log(10.0)
"""Frames count as speech down to so much (30 dB) below the loud ones."""
CLICKS = 0.02
"""Share of an utterance's frames that may be louder than its loud ones: clicks, a slammed door."""
QUIET = -3.0
"""Features are at least this, 39 dB below speech, so that all silence is alike."""
KERNEL, STRIDE = 5, 2
"""Of each convolution. One that does not subsample has a stride of 1."""


class LogMel(nn.Module):
    """Waveforms -> log-mel energies, relative to those of the utterance's speech.

    Pauses, however long or quiet, change nothing of that level. Windows of 25 ms every 10 ms, none
    beyond the ends: L = (S - 400) // 160 + 1 frames, those that unit labels of 10 ms name. Never
    in half precision, and without gradient.
    """

    window_bits: Tensor
    mel_bits: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        # Kept as integers of the same bits: `model.half()` rounds all buffers but those.
        for name, exact in zip(("window", "mel"), self.constants(), strict=True):
            self.register_buffer(f"{name}_bits", exact.view(torch.int32), persistent=False)

    def constants(self) -> tuple[Tensor, Tensor]:
        """Window (400,) and weights of frequencies in mel channels (FFT / 2 + 1, M), float32."""
        # Kaldi's window: a Hann window to the power of 0.85, which is not 0 at its ends' neighbours
        hann = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64)
        return hann.pow(0.85).float(), mel_triangles(self.channels).float()

    @torch.no_grad()
    def forward(self, waveforms: Tensor, frames: Tensor | None) -> Tensor:
        """(B, S), valid log-mel frames (B,) or None: all -> (B, L, M) float32, padding zero."""
        window, mel = self.window_bits.view(torch.float32), self.mel_bits.view(torch.float32)
        if torch.compiler.is_compiling():  # ONNX does not know bits of numbers
            window, mel = (exact.to(waveforms.device) for exact in self.constants())
        with torch.autocast(waveforms.device.type, enabled=False):
            windows = waveforms.float().unfold(1, WINDOW, MEL_SHIFT)  # (B, L, 400), a view
            windows = windows - windows.mean(2, keepdim=True)
            # s_n - 0.97 s_(n - 1) within the window, whose first sample stands for the one before
            before = torch.cat([windows[..., :1], windows[..., :-1]], -1)
            spectrum = torch.fft.rfft((windows - PREEMPHASIS * before) * window, FFT)
            power = spectrum.real.square() + spectrum.imag.square()  # (B, L, 257)
            energies = (power @ mel).clamp(min=FLOOR).log()
            # (B, L) log energy of a frame over all frequencies
            loudness = power.sum(2).clamp(min=FLOOR).log()
            valid = torch.ones_like(loudness, dtype=torch.bool)
            if frames is not None:
                valid = _valid(frames, energies)[..., 0]
            speech = is_speech(loudness, valid)[..., None]
            # filled, not multiplied: padding may hold anything
            total = energies.masked_fill(~speech, 0.0).sum(1, keepdim=True)
            features = (energies - total / speech.sum(1, keepdim=True)) / SPREAD
            return features.clamp(min=QUIET).masked_fill(~valid[..., None], 0.0)


def is_speech(loudness: Tensor, valid: Tensor) -> Tensor:
    """Which frames are about as loud as the utterance's loud ones: (B, L) bool, one at least.

    Args:
        loudness: (B, L) log energies.
        valid: (B, L) bool, False on padding; a row without any counts as if its first were.
    """
    ordered = loudness.masked_fill(~valid, -math.inf).sort(1, descending=True).values
    skipped = (CLICKS * valid.sum(1, keepdim=True)).long()
    loud = ordered.gather(1, skipped).clamp(min=math.log(FLOOR))
    speech = valid & (loudness >= loud - LOUD)
    speech[:, 0] |= ~valid.any(1)
    return speech


def mel_triangles(channels: int) -> Tensor:
    """Weights (FFT / 2 + 1, M) of frequencies in mel channels, float64.

    Triangles on the scale mel(f) = 1127 ln(1 + f / 700), as in HTK and Kaldi: channel m rises from
    the centre of m - 1 to its own and falls to that of m + 1.
    """
    # The limits are numbers, not tensors, so that a network without memory can be built.
    low, high = (1127.0 * math.log1p(hertz / 700.0) for hertz in (LOWEST, HIGHEST))
    edges = torch.linspace(low, high, channels + 2, dtype=torch.float64)
    # Where somebody builds networks on the meta device, `linspace` may be left on the CPU.
    bins = torch.arange(FFT // 2 + 1, dtype=torch.float64, device=edges.device)
    frequency = bins * SAMPLE_RATE / FFT
    place = 1127.0 * (frequency / 700.0).log1p()[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (place - left) / (centre - left), (right - place) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0)


class LogMelFrontEnd(FrontEnd):
    """Log-mel features -> two convolutions with GELU: (B, S) -> (B, T, C).

    Frame t is made of the log-mel frames r t .. r t + r - 1, r = `subsampling`, and sees a few more
    on each side:

        log-mel frames       4t-4 .. 4t-1 | 4t .. 4t+3 | 4t+4 .. 4t+8      the middle one is 4t + 2
        first convolution    2t-1         | 2t, 2t+1   | 2t+2, 2t+3

    Beyond the ends and in padding stand zeros, so that an utterance alone and in a batch agree.

    Args:
        config: its `mel_channels`, `subsampling` and `subsampling_channels` say what is built; C is
            its `embed_dim`.
    """

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config.embed_dim, config.framing)
        self.ratio = config.subsampling
        self.warp = config.mel_warp
        self.log_mel = LogMel(config.mel_channels)
        self.log_mel_framing = Framing(WINDOW, MEL_SHIFT)
        middle = config.subsampling_channels
        self.first = nn.Linear(KERNEL * config.mel_channels, middle)
        self.second = nn.Linear(KERNEL * middle, config.embed_dim)
        self.steps = ((self.ratio // STRIDE, 2), (STRIDE, 1))
        """Stride of each convolution, and taps before the first of an output's own frames."""

    def forward(self, waveforms: Tensor, sample_lengths: Tensor | None = None) -> Tensor:
        """As in `FrontEnd`; sample_lengths (B,) keep padding out of means and of neighbours."""
        lengths = None
        if sample_lengths is not None:
            lengths = self.log_mel_framing.frames(sample_lengths)
        x = self.log_mel(waveforms, lengths)
        if self.training and self.warp:
            # One factor an utterance, even in [1 - warp, 1 + warp]
            x = stretch_channels(x, 1.0 + self.warp * (2.0 * torch.rand(len(x)) - 1.0))
        x = x.to(self.first.weight.dtype)
        # Whole frames alone, T = L // r: what is left over does not make one.
        frames = x.shape[1] // self.ratio
        for layer, (stride, before) in zip((self.first, self.second), self.steps, strict=True):
            seen = windows(x, stride, before)
            if layer is self.second:
                seen = seen[:, :frames]
            x = F.gelu(affine(seen, layer.weight, layer.bias))
            if lengths is not None:
                lengths = (lengths + stride - 1) // stride
                x = x * _valid(lengths, x)
        return x


def stretch_channels(x: Tensor, factors: Tensor) -> Tensor:
    """Log-mel features as a longer or shorter vocal tract would give them: (B, L, M) -> (B, L, M).

    Vocal tract length perturbation (Jaitly and Hinton 2013), on the mel scale: channel m of
    utterance b becomes what stood at channel m factors[b], between two channels their linear
    mixture, beyond the last one that one.

    Args:
        x: (B, L, M) features.
        factors: (B,) around 1; above it voices sound lower, below it higher. On any device.
    """
    channels = x.shape[2]
    number = torch.arange(channels, dtype=torch.float32)
    # (B, 1, M) where channel m comes from
    place = (number * factors.float()[:, None]).clamp(max=channels - 1.0)[:, None]
    # (B, M, M) share of channel i (rows) in channel m (columns): 1 - |place - i|, where positive
    shares = (1.0 - (place - number[:, None]).abs()).clamp(min=0.0)
    return x @ shares.to(x)


def windows(x: Tensor, stride: int, before: int) -> Tensor:
    """What a convolution of 5 taps sees of x (B, T, C): rows (B, T', 5 C), T' = ceil(T / stride).

    Output t sees the frames from t stride - before on; beyond the ends there are zeros.
    """
    count = (x.shape[1] + stride - 1) // stride  # ONNX would round -(-T // stride) otherwise
    needed = (count - 1) * stride + KERNEL
    padded = F.pad(x.to(compute_type(x)), (0, 0, before, needed - before - x.shape[1]))
    # (B, T', C, 5) -> (B, T', 5 C)
    return padded.unfold(1, KERNEL, stride)[:, :count].transpose(2, 3).flatten(2)


def _valid(lengths: Tensor, x: Tensor) -> Tensor:
    """(B, T, 1) bool, where x is: the first lengths (B,) frames of x (B, T, C)."""
    valid = torch.arange(x.shape[1], device=lengths.device) < lengths[:, None]
    return to_device(valid, x)[..., None]
