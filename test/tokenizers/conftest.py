"""Speech-like audio and small models for the tests of hidden units."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechlm.checkpoints.torchaudio_cpu import import_torchaudio
from speechlm.data.kaldi_dir import DataDir

PITCHES = (200, 450, 900, 1700, 3100, 5200)


def tone_sequence(random: np.random.Generator, n_samples: int) -> np.ndarray:
    """Tones of 80 to 160 ms with some noise: (n_samples,) float32."""
    wave = random.normal(0, 0.005, n_samples)
    start = 0
    while start < n_samples:
        length = int(random.integers(1280, 2560))
        time = np.arange(min(length, n_samples - start)) / 16000
        wave[start : start + length] += 0.2 * np.sin(2 * np.pi * random.choice(PITCHES) * time)
        start += length
    return wave.astype(np.float32)


@pytest.fixture(scope="session")
def make_tones():
    """Function that makes a data directory of n utterances; returns its DataDir."""

    def make(folder: Path, n: int = 8, seed: int = 0, longest: int = 24000) -> DataDir:
        random = np.random.default_rng(seed)
        (folder / "wav").mkdir(parents=True)
        wav, samples = {}, {}
        for i in range(n):
            name = f"s{i % 3}-{i:03d}"
            samples[name] = int(random.integers(8000, longest))
            wav[name] = str(folder / "wav" / f"{name}.wav")
            soundfile.write(wav[name], tone_sequence(random, samples[name]), 16000)
        data = DataDir(wav, {u: u.split("-")[0] for u in wav}, None, samples)
        data.write(folder)
        return data

    return make


@pytest.fixture(scope="session")
def tones(tmp_path_factory, make_tones):
    """(folder, DataDir) of eight utterances."""
    folder = tmp_path_factory.mktemp("tones") / "data"
    return folder, make_tones(folder)


@pytest.fixture(scope="session")
def huggingface_folder(tmp_path_factory):
    """Function that writes a small random model in Hugging Face's format, and its folder."""

    def make(kind: str = "Hubert", large: bool = False, seed: int = 0, **changes) -> Path:
        import_torchaudio()
        import transformers

        torch.manual_seed(seed)
        values = {
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "conv_dim": [8] * 7,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 2,
            "do_stable_layer_norm": large,
            "feat_extract_norm": "layer" if large else "group",
        } | changes
        config = getattr(transformers, f"{kind}Config")(**values)
        path = tmp_path_factory.mktemp("huggingface") / "model"
        getattr(transformers, f"{kind}Model")(config).eval().save_pretrained(path)
        return path

    return make
