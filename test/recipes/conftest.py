"""Recipes laid out in a folder of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest


def lay_out(root: Path, folder: Path, name: str) -> Path:
    """Lay a recipe out under another folder, so that nothing is written into the project."""
    recipe = folder / "egs" / name
    recipe.mkdir(parents=True)
    for other in ("TEMPLATE", "librispeech", "covost2"):
        if other != name and not (folder / "egs" / other).exists():
            (folder / "egs" / other).symlink_to(root / "egs" / other)
    for path in (root / "egs" / name).iterdir():
        if path.name in ("run.sh", "local", "cmd.sh"):
            (recipe / path.name).symlink_to(path)
    (recipe / "conf").mkdir()  # to which a test may add
    for path in (root / "egs" / name).glob("conf/*"):
        (recipe / "conf" / path.name).symlink_to(path)
    (recipe / "run.sh").unlink()
    (recipe / "run.sh").write_text((root / "egs" / name / "run.sh").read_text())
    (recipe / "run.sh").chmod(0o755)
    return recipe


@pytest.fixture(scope="session")
def copy_recipe(root) -> Callable[[Path, str], Path]:
    """Return copy(folder, name), which gives the folder of the recipe's copy."""
    return partial(lay_out, root)


def lay_out_project(root: Path, folder: Path) -> Path:
    """Lay out a project whose egs/TEMPLATE is a copy that may be changed; return its egs/."""
    (folder / "egs").mkdir(parents=True)
    for name in (".venv", "speechlm", "tools"):
        (folder / name).symlink_to(root / name)
    shutil.copytree(root / "egs" / "TEMPLATE", folder / "egs" / "TEMPLATE")
    return folder / "egs"


@pytest.fixture
def project(root, tmp_path) -> Path:
    """egs/ of a project with a TEMPLATE that the test may change."""
    return lay_out_project(root, tmp_path / "project")


@pytest.fixture(scope="session")
def run_sh() -> Callable[..., subprocess.CompletedProcess]:
    """Return run(folder, *words), which runs run.sh there."""

    def run(folder: Path, *words: str, timeout: float = 120) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["./run.sh", *words],
            cwd=folder,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
