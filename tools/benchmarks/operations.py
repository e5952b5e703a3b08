"""Operations of a batch by part of the model, and what a whole pre-training needs on a GPU.

torch counts them on tensors that have shapes and no numbers: products, convolutions and attention
of the plain twins, in a forward pass. What the counter does not know of is added by formula.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import N_CHARACTERS, N_UNITS
from speechlm.conventions import PAPER_FRAMING, SAMPLE_RATE
from speechlm.kernels import plain
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.heads import CTC_HEAD, required
from speechlm.models.log_mel import FFT

FORWARD_AND_BACKWARD = 3
"""A backward pass is twice the forward pass; what is computed again does not count."""
SPEECH_PARTS = ("front_end", "speech_layers", "shared_on_speech")
"""Parts that features need."""


def operations(args: argparse.Namespace) -> dict[str, float]:
    """Counts the operations of a training step by part, and projects GPU-hours."""
    figures: dict[str, float] = {}
    for name in dict.fromkeys((args.model, args.beside or args.model)):
        config = getattr(SpeechLMConfig, name)()
        parts = forward_operations(config, args.batch, args.seconds, args.text_units)
        step = FORWARD_AND_BACKWARD * sum(parts.values())
        for part, count in parts.items():
            figures[f"{name}_{part}_tflop"] = round(count / 1e12, 6)
        figures[f"{name}_step_tflop"] = round(step / 1e12, 6)
        for utilization in (0.30, 0.45):
            hours = args.updates * args.gpus * step / (utilization * args.peak_tflops * 1e12) / 3600
            figures[f"{name}_gpu_hours_at_{utilization:.2f}"] = round(hours, 1)
    if args.beside:
        for part in (*parts, "step"):
            ours, others = (figures[f"{name}_{part}_tflop"] for name in (args.model, args.beside))
            figures[f"{part}_ratio"] = round(ours / others, 4)
    return figures


def forward_operations(
    config: SpeechLMConfig, rows: int, seconds: float, text_units: int
) -> dict[str, float]:
    """Operations of a forward pass by part: a product and a sum are two.

    Args:
        config: of the model.
        rows: utterances, and sentences.
        seconds: of each utterance.
        text_units: of each sentence, of 20 ms; see `units_of`. 0: no text.

    Returns:
        `front_end` (with the projection to the model's width), `speech_layers` (with what gives
        them positions), `shared_on_speech`, `shared_on_text`, `heads` (units of all frames at both
        depths, where training scores the masked ones alone, and characters of the text).
    """
    samples = int(seconds * SAMPLE_RATE)
    frames, units = config.framing.frames(samples), units_of(config, text_units)
    # torch draws truncated values again until all lie inside, which it cannot see here.
    draws_again = mock.patch.object(nn.init, "trunc_normal_")
    with FakeTensorMode(), torch.no_grad(), draws_again:
        model = SpeechLM(config, N_UNITS, N_CHARACTERS).eval()
        head = required(model.unit_encoder_ctc_head, CTC_HEAD)
        speech = torch.empty(rows, frames, config.embed_dim)
        text = torch.empty(rows, units, config.embed_dim)
        waveforms = torch.empty(rows, samples)

        def units_of_frames() -> None:
            for depth in range(len(model.final_proj_list)):
                model.unit_logits(speech.flatten(0, 1), depth)

        parts = {
            "front_end": counted(lambda: model._project(model._front_end(waveforms, None))),
            "speech_layers": counted(lambda: model.encoder(speech, None)),
            "shared_on_speech": counted(lambda: model.unit_encoder(speech, None)),
            "shared_on_text": counted(lambda: model.unit_encoder(text, None)) if units else 0.0,
            "heads": counted(units_of_frames) + (counted(lambda: head(text)) if units else 0.0),
        }
    if config.is_fast:
        _add_uncounted(parts, config, rows * samples, rows * frames, rows * units)
    return parts


def _add_uncounted(
    parts: dict[str, float], config: SpeechLMConfig, samples: int, frames: int, units: int
) -> None:
    """Adds what the counter does not know: Fourier transforms and depthwise convolutions."""
    # A real transform of N points every 10 ms takes about 2.5 N log2 N.
    parts["front_end"] += samples / 160 * 2.5 * FFT * (FFT.bit_length() - 1)
    if config.depthwise_kernel > 1:
        layer = 2 * config.depthwise_kernel * config.embed_dim  # of a frame
        parts["speech_layers"] += config.speech_layers * frames * layer
        parts["shared_on_speech"] += config.shared_layers * frames * layer
        parts["shared_on_text"] += config.shared_layers * units * layer


def units_of(config: SpeechLMConfig, text_units: int) -> int:
    """Units of a sentence at the model's rate that last as long as so many of 20 ms."""
    return -(-text_units * PAPER_FRAMING.shift // config.framing.shift)


def counted(call: Callable[[], object]) -> float:
    """Operations of products, convolutions and attention in a call."""
    with _counting() as counter:
        call()
    return float(counter.get_total_flops())


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    # The plain twins, and attention as the products that it is made of: the counter knows these.
    with plain(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter
