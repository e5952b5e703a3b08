"""Beam search of translations, in batches and one by one."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch

from benchmarks.measure import autocast, peak_rss
from speechlm.conventions import EOS, SAMPLE_RATE
from speechlm.models import SpeechLMConfig

if TYPE_CHECKING:
    from speechlm.checkpoints.translation import TranslationModel


def translator(args: argparse.Namespace) -> TranslationModel:
    """A model with random weights, whose translations are as long as they may be."""
    from speechlm.checkpoints.translation import TranslationModel
    from speechlm.models.translation_decoder import TranslationDecoderConfig

    config = getattr(SpeechLMConfig, args.model)(ignore_padding=True)
    shape = {"encoder_dim": config.embed_dim}
    if args.model == "tiny":
        shape |= {"embed_dim": 128, "ffn_dim": 512, "layers": 2, "heads": 4}
    torch.manual_seed(args.seed)
    decoder = TranslationDecoderConfig.from_dict(shape)
    model = TranslationModel(config, decoder, args.tokens).to(args.device).eval()
    with torch.no_grad():  # an end that is never likely
        model.decoder.output_projection.weight *= 4.0
        model.decoder.output_projection.weight[EOS] = 0.0
    return model


def beam(args: argparse.Namespace) -> dict[str, float]:
    """Translation of noise of 2 s to --seconds: sentences a second in batches, and one by one."""
    from speechlm.decode.beam_search import BeamOptions, beam_search
    from speechlm.decode.translate import batches

    model = translator(args)
    options = BeamOptions(args.beam, max_tokens=args.max_tokens)
    longest = int(args.seconds * SAMPLE_RATE)
    lengths = torch.linspace(min(2 * SAMPLE_RATE, longest), longest, args.utterances).long()
    waves = {str(i): torch.randn(int(n)) for i, n in enumerate(lengths)}

    def translate(batch_samples: int) -> tuple[dict[str, tuple[int, ...]], float, float]:
        """Tokens of each utterance, and seconds: of all, of the search alone."""
        found: dict[str, tuple[int, ...]] = {}
        start, searching = time.perf_counter(), 0.0
        for ids in batches({name: len(wave) for name, wave in waves.items()}, batch_samples):
            padded = torch.nn.utils.rnn.pad_sequence([waves[i] for i in ids], batch_first=True)
            counts = torch.tensor([len(waves[i]) for i in ids])
            with torch.inference_mode(), autocast(args):
                features, padding = model.encode(padded.to(args.device), counts.to(args.device))
                if args.device == "cuda":
                    torch.cuda.synchronize()
                searching -= time.perf_counter()
                best = beam_search(model.decoder, features, padding, options)
                searching += time.perf_counter()
            found |= {i: hypotheses[0].tokens for i, hypotheses in zip(ids, best, strict=True)}
        return found, time.perf_counter() - start, searching

    found, seconds, searches, figures = {}, {}, {}, {}
    for name, batch_samples in (("batched", args.batch_samples), ("one_by_one", 1)):
        tries = [translate(batch_samples) for _ in range(args.repeats)]
        found[name] = tries[0][0]
        seconds[name] = statistics.median(everything for _, everything, _ in tries)
        searches[name] = statistics.median(search for _, _, search in tries)
        figures[f"{name}_sentences_per_second"] = round(args.utterances / seconds[name], 3)
    one, many = found["one_by_one"], found["batched"]
    figures["speed_up"] = round(seconds["one_by_one"] / seconds["batched"], 2)
    figures["search_speed_up"] = round(searches["one_by_one"] / searches["batched"], 2)
    figures["tokens_written"] = sum(map(len, many.values()))
    figures["same_outputs"] = sum(many[name] == one[name] for name in waves)
    return {**figures, "peak_gib": round(peak_rss(), 3)}
