"""Outputs are whole or absent."""

import os

import pytest

from speechlm.data.atomic import output_dir, output_file, remove_leftovers


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    with output_file(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(error), output_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_directory_replaces_the_old_one(tmp_path):
    path = tmp_path / "d"
    path.mkdir()
    (path / "same").write_text("old")
    (path / "tuned").touch()
    (path / ".done").touch()
    with output_dir(path, ("tuned",)) as temporary:
        (temporary / "same").write_text("new")
        (temporary / "more").touch()
        assert (path / "same").read_text() == "old"
    assert sorted(os.listdir(path)) == ["more", "same"]
    assert (path / "same").read_text() == "new"
    assert os.listdir(tmp_path) == ["d"]


def test_files_that_no_output_made_are_kept(tmp_path, caplog):
    path = tmp_path / "results"
    (path / "folder").mkdir(parents=True)
    (path / "folder" / "ref").write_text("precious")
    for n in ("1", "2"):
        with output_dir(path) as temporary:
            (temporary / "result.md").write_text(n)
        (path / "notes").write_text(n)
    assert (tmp_path / "results.old" / "folder" / "ref").read_text() == "precious"
    assert (tmp_path / "results.old.2" / "notes").read_text() == "1"
    assert (path / "result.md").read_text() == "2"
    assert "folder/ref" in caplog.text and "results.old.2" in caplog.text


@pytest.mark.parametrize("output", [".", "..", "a file"])
def test_output_is_a_folder_of_its_own(tmp_path, monkeypatch, output):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a file").write_text("precious")
    monkeypatch.chdir(work)
    with pytest.raises(ValueError, match="expected"), output_dir(output):
        raise AssertionError("work is done that cannot be kept")
    assert os.listdir(work) == ["a file"] and os.listdir(tmp_path) == ["work"]


def test_failed_directory_leaves_the_old_one(tmp_path):
    path = tmp_path / "d"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(RuntimeError), output_dir(path) as temporary:
        (temporary / "new").touch()
        raise RuntimeError
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["d"]


def test_leftovers_of_killed_processes_go(tmp_path):
    child = os.fork()
    if child == 0:  # dies inside of the block, as if killed
        with output_file(tmp_path / "a") as temporary:
            temporary.write_text("half")
            os._exit(1)
    os.waitpid(child, 0)
    assert len(os.listdir(tmp_path)) == 1
    with output_file(tmp_path / "b", tidy=False) as temporary:
        temporary.write_text("b")
    assert len(os.listdir(tmp_path)) == 2
    with output_file(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_leftovers_of_a_whole_folder_go(tmp_path):
    child = os.fork()
    if child == 0:
        with output_file(tmp_path / "a") as temporary:
            temporary.write_text("half")
            os._exit(1)
    os.waitpid(child, 0)
    (tmp_path / "b").touch()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["b"]


def test_temporary_files_of_living_processes_stay(tmp_path):
    with output_file(tmp_path / "a") as first:
        first.write_text("mine")
        child = os.fork()
        if child == 0:
            with output_file(tmp_path / "a") as second:
                second.write_text("other")
            os._exit(0)
        os.waitpid(child, 0)
        assert first.exists()
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_who_may_read_is_up_to_the_umask(tmp_path, umask):
    """Libraries such as safetensors make files that only their owner can read."""
    old = os.umask(umask)
    try:
        with output_file(tmp_path / "a") as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        with output_file(tmp_path / "b") as temporary:
            temporary.write_text("b")
        with output_file(tmp_path / "c") as temporary:
            temporary.write_text("c")
            temporary.chmod(0o640)
    finally:
        assert os.umask(old) == umask
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in "abc"]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o640]


def test_who_may_read_a_folders_files_is_up_to_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with output_dir(tmp_path / "model") as temporary:
            (temporary / "more").mkdir()
            for name in ("a", "more/b"):
                os.close(os.open(temporary / name, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(old)
    for name in ("a", "more/b"):
        assert (tmp_path / "model" / name).stat().st_mode & 0o777 == 0o640


def test_a_link_may_name_a_file_that_is_not_there(tmp_path):
    """Such as that to an epoch's weights, which somebody has deleted."""
    with output_file(tmp_path / "best.pth") as temporary:
        temporary.symlink_to("3epoch.pth")
    assert os.readlink(tmp_path / "best.pth") == "3epoch.pth"
