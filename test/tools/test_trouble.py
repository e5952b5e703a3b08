"""What the system refuses, in words; and what a full disk or a foreign folder does to a step."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def trouble(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    import trouble

    return trouble


def test_a_folder_of_another_user_is_named_with_its_owner(trouble, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    error = PermissionError(errno.EACCES, "Permission denied", "exp/lm/.x.owner")
    monkeypatch.chdir(tmp_path)
    said = trouble.in_words(error, Path("exp/lm/x"))
    assert said.startswith(f"{tmp_path}/exp/lm/.x.owner: Permission denied. {tmp_path} belongs to ")
    assert "(drwx" in said and f"this is {2**31 - 7}; run in a copy" in said


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "bytes are free in "),
        (errno.EDQUOT, "make room (quotas count, too)"),
        (errno.EROFS, "can only be read; run the recipe in a copy elsewhere"),
        (errno.ENOTDIR, "/file is there already, and is no folder; move it away"),
        (errno.ESTALE, "The shared file system has lost it"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_can_be_done(trouble, tmp_path, number, words):
    (tmp_path / "file").touch()
    said = trouble.in_words(OSError(number, os.strerror(number)), tmp_path / "file" / "x")
    assert said.startswith(f"{tmp_path}/file/x: {os.strerror(number)}")
    assert words in said and "\n" not in said


def test_a_folder_that_takes_no_file(trouble, tmp_path):
    assert trouble.refusal(tmp_path) == "" and not list(tmp_path.iterdir())
    assert "No such file or directory" in trouble.refusal(tmp_path / "none")


@pytest.mark.parametrize("tool", ["step.py", "slurm.py", "local.py"])
def test_a_file_where_a_folder_should_be(root, tmp_path, tool):
    """Each of the tools says what is in the way, and what to do."""
    (tmp_path / "file").touch()
    words = ["file/x/log", "true"]
    if tool == "step.py":
        words = ["--name", "n", "--stage", "3", "--output", "file/x/y", "--", "true"]
    done = subprocess.run(
        [sys.executable, root / "tools" / tool, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{tmp_path}/file is there already, and is no folder; move it away" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="is not root")
def test_a_step_in_a_folder_of_another_user(root):
    words = ["--name", "n", "--stage", "3", "--output", "exp/y", "--", "true"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:  # pytest's own cannot be entered by others
        os.chmod(folder, 0o755)
        done = subprocess.run(
            [*nobody, sys.executable, root / "tools" / "step.py", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
    if "error: " not in done.stderr:
        pytest.skip("the project is in a folder that others cannot read")
    assert done.returncode == 1
    assert f"Permission denied. {folder} belongs to root (drwxr-xr-x)" in done.stderr
