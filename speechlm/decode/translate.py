"""Translation of recordings, and of a data directory, resumable.

Of a data directory finished utterances are appended to OUTPUT/partial.tsv. A run that starts again
takes from there, and from the folders beside OUTPUT (the other jobs, however many there were), what
was made of the same recordings by the same model with the same options.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.translation import TranslationModel, load_translator
from speechlm.data.atomic import write_text
from speechlm.data.disk import naming
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.target_text import TargetVocabulary
from speechlm.decode.beam_search import BeamOptions, beam_search
from speechlm.decode.extract import batches
from speechlm.decode.hypotheses import write_hypotheses
from speechlm.decode.transcribe import Audio, TooShort, named_blocks
from speechlm.models import SpeechLM
from speechlm.models.translation_decoder import TranslationDecoder
from speechlm.progress import Progress

PARTIAL = "partial.tsv"


@dataclasses.dataclass(frozen=True)
class Translated:
    """A translated utterance."""

    text: str
    """Detokenised."""
    score: float
    """See `beam_search.Hypothesis`."""


def translate(
    model: TranslationModel,
    vocabulary: TargetVocabulary,
    data: DataDir,
    options: BeamOptions,
    batch_samples: int,
) -> Iterator[dict[str, Translated]]:
    """Translations, batch by batch, longest utterances first.

    A batch has at most `batch_samples` padded samples, but at least one utterance. Padding does
    not change results. Utterances shorter than a frame get an empty translation.
    """
    samples, window = data.samples(), model.framing.window
    short = [u for u in data.ids if samples[u] < window]
    if short:
        yield dict.fromkeys(short, Translated("", 0.0))
    for ids in batches({u: n for u, n in samples.items() if n >= window}, batch_samples):
        waves = [data.waveform(u) for u in ids]
        found = translate_batch(model.speechlm, model.decoder, vocabulary, waves, options)
        yield dict(zip(ids, found, strict=True))


@torch.inference_mode()
def translate_batch(
    encoder: SpeechLM,
    decoder: TranslationDecoder,
    vocabulary: TargetVocabulary,
    waves: Sequence[np.ndarray],
    options: BeamOptions,
) -> list[Translated]:
    """Translations of waveforms (S,), float32 at 16 kHz, which are padded to one batch.

    Encoder and decoder are in evaluation mode and on one device.
    """
    device = encoder.mask_emb.device
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    encoded = encoder.encode(padded.to(device), lengths.to(device))
    found = beam_search(decoder, encoded.features, encoded.padding, options)
    return [Translated(vocabulary.decode(best[0].tokens), best[0].score) for best in found]


def translate_audio(
    encoder: SpeechLM,
    decoder: TranslationDecoder,
    vocabulary: TargetVocabulary,
    audio: Sequence[Audio],
    options: BeamOptions,
    batch_samples: int,
) -> list[Translated]:
    """Translations of files and waveforms, in their order; arguments as in `translate_batch`.

    Recordings that follow one another go together, as many as `batch_samples` padded samples hold
    (at least one).

    Raises:
        AudioError: a recording is missing, damaged, empty or shorter than a frame.
        ValueError: something else than a list of recordings.
    """
    done: list[Translated] = []
    batch: list[np.ndarray] = []
    for name, blocks in named_blocks(audio):
        wave = np.concatenate([np.zeros(0, np.float32), *blocks])
        TooShort.check(name, len(wave), encoder.framing)
        longest = max(map(len, [*batch, wave]))
        if batch and (len(batch) + 1) * longest > batch_samples:
            done += translate_batch(encoder, decoder, vocabulary, batch, options)
            batch = []
        batch.append(wave)
    if batch:
        done += translate_batch(encoder, decoder, vocabulary, batch, options)
    return done


def translate_dir(
    model: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: BeamOptions,
    weights: str | None = None,
    batch_samples: int = 1_600_000,
    device: str = "cpu",
) -> dict[str, Translated]:
    """Translate a data directory; writes output/text and output/scores."""
    loaded, vocabulary = load_translator(model, weights, device)
    data, folder = DataDir.read(data_dir), Path(output)
    mark = fingerprint(model, weights, options)
    places = sorted(folder.parent.glob(f"*/{PARTIAL}"))
    found = {known: t for path in places for known, t in read_partial(path, mark).items()}
    recordings = {u: (u, data.audio(u).state()) for u in data.ids}
    done = {u: found[known] for u, known in recordings.items() if known in found}
    folder.mkdir(parents=True, exist_ok=True)
    rest = data.subset(data.wav.keys() - done.keys())
    if done:
        logging.info("%s: %d of %d utterances were done before", folder, len(done), len(data))
    start = time.perf_counter()
    _start_partial(folder / PARTIAL, mark)
    with (
        naming(folder / PARTIAL),
        (folder / PARTIAL).open("a", encoding="utf-8") as file,
        Progress("utterances", len(data), first=len(done)) as shown,
    ):
        for batch in translate(loaded, vocabulary, rest, options, batch_samples):
            done |= batch
            file.writelines(_lines({recordings[u]: t for u, t in batch.items()}))
            file.flush()
            shown.advance(len(batch))
    seconds = time.perf_counter() - start
    write_hypotheses(folder / "text", {u: t.text for u, t in done.items()})
    write_hypotheses(folder / "scores", {u: f"{t.score:.6f}" for u, t in done.items()})
    logging.info(
        "%d utterances in %.1f s: %.2f a second at beam %d",
        len(rest),
        seconds,
        len(rest) / max(seconds, 1e-9),
        options.beam,
    )
    return done


def fingerprint(model: str | os.PathLike[str], weights: str | None, options: BeamOptions) -> str:
    """A mark of everything but the recordings that results depend on."""
    tuned = FineTuning.find(model)
    assert tuned is not None  # load_translator has opened it
    path = tuned.weights_file(weights)
    state = path.stat()
    values = [str(path.resolve()), state.st_size, state.st_mtime_ns, dataclasses.asdict(options)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def read_partial(path: Path, mark: str) -> dict[tuple[str, str], Translated]:
    """What a job with the same mark has done: by utterance and recording."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines[0] != f"# {mark}":
        return {}
    done: dict[tuple[str, str], Translated] = {}
    for line in lines[1:-1]:  # the last one may be cut off
        utterance, recording, score, text = line.split("\t")
        done[utterance, recording] = Translated(text, float(score))
    return done


def _start_partial(path: Path, mark: str) -> None:
    """Begin the file anew, with what is sound in it: other jobs may need it."""
    lines = [f"# {mark}\n", *_lines(read_partial(path, mark))]
    write_text(path, "".join(lines))


def _lines(done: dict[tuple[str, str], Translated]) -> Iterable[str]:
    for (utterance, recording), found in done.items():
        yield f"{utterance}\t{recording}\t{found.score!r}\t{found.text}\n"
