"""Fixtures of the data tests."""

import importlib.util
from pathlib import Path

import pytest
import soundfile

from speechlm.data.librispeech import read_librispeech


@pytest.fixture(scope="session")
def helpers():
    """The module helpers.py beside this file."""
    spec = importlib.util.spec_from_file_location(
        "data_test_helpers", Path(__file__).with_name("helpers.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def samples_read(monkeypatch):
    """Numbers of samples that are decoded from now on, one by one as they are read."""
    numbers: list[int] = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, *a, **k: numbers.append(len(x := original(self, *a, **k))) or x,
    )
    return numbers


@pytest.fixture
def source(tmp_path, helpers):
    """(data directory, ids) of a sound corpus of 10 utterances."""
    ids = helpers.write_corpus(tmp_path / "a corpus", n=5)
    data, _ = read_librispeech(tmp_path / "a corpus", ["train"])
    data.write(tmp_path / "data")
    return tmp_path / "data", ids
