"""Translation of a data directory with a fine-tuned model, resumable.

Finished utterances are appended to OUTPUT/partial.tsv. A run that starts again takes from there,
and from the folders beside OUTPUT (the other jobs, however many there were), what was made of the
same recordings by the same model with the same options.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.translation import TranslationModel, load_translator
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.target_text import TargetVocabulary
from speechlm.decode.beam_search import BeamOptions, beam_search
from speechlm.decode.extract import batches
from speechlm.decode.hypotheses import write_hypotheses

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
    device = next(model.parameters()).device
    samples, window = data.samples(), model.framing.window
    short = [u for u in data.ids if samples[u] < window]
    if short:
        yield dict.fromkeys(short, Translated("", 0.0))
    for ids in batches({u: n for u, n in samples.items() if n >= window}, batch_samples):
        waves = [torch.from_numpy(data.waveform(u)) for u in ids]
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        with torch.inference_mode():
            features, padding = model.encode(padded.to(device), lengths.to(device))
        found = beam_search(model.decoder, features, padding, options)
        yield {
            utterance: Translated(vocabulary.decode(best[0].tokens), best[0].score)
            for utterance, best in zip(ids, found, strict=True)
        }


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
    with (folder / PARTIAL).open("a", encoding="utf-8") as file:
        for batch in translate(loaded, vocabulary, rest, options, batch_samples):
            done |= batch
            file.writelines(_lines({recordings[u]: t for u, t in batch.items()}))
            file.flush()
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
