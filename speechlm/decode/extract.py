"""Features of a data directory by a trained SpeechLM, as Kaldi archives.

B utterances, S samples (16 kHz), T frames, D model width. Needs no ESPnet.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from speechlm.checkpoints.pretrained import SpeechLM as PretrainedSpeechLM
from speechlm.checkpoints.pretrained import model_files
from speechlm.data.archives import ArchiveWriter, write_frame_shift
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import DataDir, read_table, show_ids
from speechlm.data.segments import AudioRange
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.progress import progress

NAME = "feats"
"""Name of the archives: feats.JOB.ark, feats.JOB.scp, feats.scp."""


def extract_dir(
    model: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    layer: str | int = "last",
    job: int = 1,
    batch_samples: int = 1_600_000,
    device: str = "cpu",
) -> int:
    """Write features of a (part of a) data directory; returns the number of utterances.

    `output` gets `feats.JOB.ark`, `feats.JOB.scp` (float matrices (T, D)) and `frame_shift`. A
    job that is complete, from the same model, layer and utterances, is not done again.

    Args:
        model: folder of a trained model.
        data_dir: data directory with utt2num_samples.
        layer: "last", or the number of a Transformer layer, from 1 (raw, before any final norm).
        job: number of this part.
        batch_samples: limit of a batch's padded samples; results do not depend on it.

    Raises:
        ValueError: a wrong layer or job, utterances shorter than a frame, audio that cannot be
            used or has another length than utt2num_samples says, or wrong files.
    """
    if job < 1:
        raise ValueError(f"job: a number of at least 1 expected, got {job}")
    data, folder = DataDir.read(data_dir), Path(output)
    record, mark = folder / f"{NAME}.{job}.json", _mark(Path(model), layer, data)
    if _is_complete(folder / f"{NAME}.{job}.scp", record, mark, data):
        logging.info("%s: job %d is complete", folder, job)
        return len(data)
    network = PretrainedSpeechLM.from_pretrained(model, ignore_padding=True).to(device)
    layer = check_layer(layer, network.config)
    record.unlink(missing_ok=True)
    with ArchiveWriter(folder, NAME, job) as writer:
        found = extract(network, data, layer, batch_samples)
        for utterance, features in progress(found, "utterances", len(data)):
            writer.write(utterance, features)
    write_frame_shift(folder, network.framing.seconds)
    write_text(record, json.dumps(mark) + "\n")
    return len(data)


def extract(
    model: SpeechLM, data: DataDir, layer: str | int, batch_samples: int = 1_600_000
) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, features (T, D) float32) of all utterances, the longest first.

    Utterances of similar length go together, as many as `batch_samples` padded samples hold (at
    least one). With the model's `ignore_padding` each has the features that it has alone.
    """
    layer = check_layer(layer, model.config)
    device = next(model.parameters()).device
    samples = data.samples()
    window = model.framing.window
    short = [u for u in data.ids if samples[u] < window]
    if short:
        raise ValueError(
            f"{len(short)} utterances are shorter than one frame ({window} samples): "
            f"{show_ids(short)}; leave them out of the data directory"
        )
    gone = {path for path in set(data.wav.values()) if not os.path.isfile(path)}
    absent = [u for u in data.ids if data.wav[u] in gone]
    if absent:
        raise ValueError(
            f"audio files of {len(absent)} utterances are not there: {show_ids(absent)}, such as "
            f"{data.wav[absent[0]]}; are the paths of wav.scp relative to this folder?"
        )
    for batch in batches(samples, batch_samples):
        waves = [torch.from_numpy(data.waveform(u)) for u in batch]
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        layers = "last" if layer == "last" else "all"
        found, frames = model.extract_features(padded.to(device), lengths.to(device), layers)
        chosen = found[int(layer) - 1] if isinstance(found, list) else found
        features = chosen.float().cpu().numpy()
        for utterance, row, n in zip(batch, features, frames.tolist(), strict=True):
            yield utterance, row[:n]


def batches(samples: dict[str, int], limit: int) -> Iterator[list[str]]:
    """Utterances by falling length, in batches of at most `limit` padded samples (or one)."""
    batch: list[str] = []
    for utterance in sorted(samples, key=lambda u: (-samples[u], u)):
        if batch and (len(batch) + 1) * samples[batch[0]] > limit:
            yield batch
            batch = []
        batch.append(utterance)
    if batch:
        yield batch


def check_layer(layer: str | int, config: SpeechLMConfig) -> str | int:
    """ "last" or the number of a layer.

    Raises:
        ValueError: another value.
    """
    count = config.speech_layers + config.shared_layers
    if layer == "last":
        return "last"
    if str(layer).isdecimal() and 1 <= int(layer) <= count:
        return int(layer)
    raise ValueError(f'layer: "last" or a number from 1 to {count} expected, got {layer!r}')


def _mark(model: Path, layer: str | int, data: DataDir) -> dict[str, str]:
    """What a job's features follow from."""
    ids = "".join(f"{u} {data.audio(u)} {_state(data.audio(u))}\n" for u in data.ids)
    files = [(path.name, path.stat()) for path in model_files(model)]
    state = [(name, found.st_size, found.st_mtime_ns) for name, found in files]
    return {
        "model": f"{model.resolve()} {state}",
        "layer": str(layer),
        "utterances": hashlib.sha256(ids.encode()).hexdigest(),
    }


def _state(audio: AudioRange) -> str:
    """`AudioRange.state`; nothing of a file that is not there, which `extract` refuses."""
    try:
        return audio.state()
    except OSError:
        return ""


def _is_complete(scp: Path, record: Path, mark: dict[str, str], data: DataDir) -> bool:
    """Whether a job has been done already, and nothing that it follows from has changed."""
    if not (scp.is_file() and record.is_file()):
        return False
    same = record.read_text(encoding="utf-8") == json.dumps(mark) + "\n"
    return same and read_table(scp).keys() == data.wav.keys()
