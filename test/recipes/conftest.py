"""Recipes laid out in a folder of the test's own."""

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
        if path.name in ("run.sh", "local", "conf", "cmd.sh"):
            (recipe / path.name).symlink_to(path)
    (recipe / "run.sh").unlink()
    (recipe / "run.sh").write_text((root / "egs" / name / "run.sh").read_text())
    (recipe / "run.sh").chmod(0o755)
    return recipe


@pytest.fixture(scope="session")
def copy_recipe(root) -> Callable[[Path, str], Path]:
    """Return copy(folder, name), which gives the folder of the recipe's copy."""
    return partial(lay_out, root)
