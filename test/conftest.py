"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# One thread a process: the suite's tensors are small, and jobs of a recipe run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings and reference tensors; tests that ask for it skip if absent."""
    path = Path(os.environ.get("SPEECHLM_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set SPEECHLM_SHARED to where it is)")
    return path
