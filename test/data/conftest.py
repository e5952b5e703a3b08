"""Fixtures of the data tests."""

import importlib.util
from pathlib import Path

import pytest

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
def source(tmp_path, helpers):
    """(data directory, ids) of a sound corpus of 10 utterances."""
    ids = helpers.write_corpus(tmp_path / "a corpus", n=5)
    data, _ = read_librispeech(tmp_path / "a corpus", ["train"])
    data.write(tmp_path / "data")
    return tmp_path / "data", ids
