"""Full and read-only disks: one line with the folder and what is free, and nothing is lost."""

import errno
import pickle
import re

import numpy as np
import pytest

from speechlm.data.archives import ArchiveWriter
from speechlm.data.atomic import output_dir, output_file, write_text
from speechlm.data.disk import CannotWrite, check_room, naming


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_output_that_has_no_room_says_where_and_how_much_is_free(small_disk):
    path = small_disk.path / "a.txt"
    write_text(path, "old")
    with pytest.raises(CannotWrite) as error:
        write_text(path, "x" * (2 << 20))
    assert error.value.errno == errno.ENOSPC
    message = (
        rf"{path} cannot be written: No space left on device; [\d,]+ bytes free in {path.parent}"
    )
    assert re.match(message, one_line(error))
    assert path.read_text() == "old" and len(list(path.parent.iterdir())) == 1
    again = pickle.loads(pickle.dumps(error.value))  # as a process of a pool sends it
    assert (again.errno, str(again)) == (errno.ENOSPC, str(error.value))


def test_a_folder_that_has_no_room_is_named_too(small_disk):
    path = small_disk.path / "results"
    with pytest.raises(CannotWrite) as error, output_dir(path) as temporary:
        (temporary / "a").write_text("x" * (2 << 20))
    assert f"{path} cannot be written: No space left" in one_line(error)
    assert not list(small_disk.path.iterdir())


@pytest.mark.parametrize("make", [output_file, output_dir])
def test_a_read_only_folder_is_named(small_disk, make):
    small_disk.make_read_only()
    with pytest.raises(CannotWrite) as error, make(small_disk.path / "a") as temporary:
        temporary.write_text("x")
    assert error.value.errno == errno.EROFS
    assert f"{small_disk.path / 'a'} cannot be written: Read-only file system" in one_line(error)


def test_a_limit_of_file_size_is_told_where_nothing_can_be_mounted(tmp_path, full_disk):
    with full_disk(100), pytest.raises(CannotWrite, match="a cannot be written: File too large"):
        write_text(tmp_path / "a", "x" * 1000)


def test_an_index_of_an_archive_that_has_no_room_is_named(tmp_path, full_disk):
    """The archive itself fits: its index, which is written last, does not."""
    with (
        full_disk(4000),
        pytest.raises(CannotWrite, match=r"units\.1\.scp cannot be written: File too large"),
        ArchiveWriter(tmp_path / "units") as writer,
    ):
        for n in range(90):
            writer.write(f"id{n}", np.zeros(1, np.int32))
        assert writer._file.tell() < 3000
    assert not list((tmp_path / "units").iterdir())


def test_a_file_that_is_written_in_place_is_named(tmp_path, full_disk):
    path = tmp_path / "a"
    refused = pytest.raises(CannotWrite, match=f"{path} cannot be written: File too large")
    with full_disk(100), refused, naming(path), path.open("a") as file:
        file.write("x" * 1000)


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="input"), output_file(tmp_path / "a"):
        (tmp_path / "input").read_text()
    with pytest.raises(PermissionError, match="input"), output_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "input")


def test_room_is_looked_at_before_anything_is_written(small_disk):
    new = small_disk.path / "new" / "folder"
    check_room(new, 1000, "the weights")
    assert not list(new.iterdir())
    with pytest.raises(CannotWrite) as error:
        check_room(new, 2 << 20, "the weights")
    expected = f"{new} cannot be written: the weights: not enough room; 2,097,152 bytes needed, "
    assert expected in one_line(error)
    small_disk.make_read_only()
    with pytest.raises(CannotWrite, match="the weights: Read-only file system; 1 bytes needed"):
        check_room(new, 1, "the weights")
    with pytest.raises(CannotWrite, match=f"bytes free in {new}"):
        check_room(new / "more", 1, "the weights")
