"""How a program ends when the machine fails it."""

import os
from pathlib import Path

import pytest

from speechlm.bin._cli import run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_without_the_name_of_a_file_says_what_is_free(tmp_path, monkeypatch):
    """What is printed into a file, or written by a library: the system names no file then."""

    def main():
        with open("/dev/full", "w") as file:
            file.write("x" * 10000)

    monkeypatch.setattr("sys.argv", ["x", "--output", str(tmp_path / "new" / "a"), "--job", "3"])
    with pytest.raises(SystemExit) as end:
        run(main)
    said = str(end.value)
    assert said.startswith("error: a file cannot be written: No space left on device; bytes free: ")
    assert f" in {tmp_path}, " in said and f" in {os.getcwd()}" in said and "\n" not in said


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="error: .*No such file or directory: 'none.txt'"):
        run(lambda: Path("none.txt").read_text())
