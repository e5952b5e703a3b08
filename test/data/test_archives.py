"""Kaldi archives of labels and features."""

import pickle
import time

import kaldiio
import numpy as np
import pytest

from speechlm.data.archives import (
    ArchiveReader,
    ArchiveWriter,
    merge_archives,
    n_labels,
    read_array,
    read_unit_info,
    write_unit_info,
)


@pytest.mark.parametrize(
    ("n_samples", "shift", "expected"),
    [(400, 0.01, 1), (559, 0.01, 1), (560, 0.01, 2), (225360, 0.01, 1407), (225360, 0.02, 704)]
    + [(399, 0.01, 0), (0, 0.01, 0)],
)
def test_number_of_labels(n_samples, shift, expected):
    assert n_labels(n_samples, shift) == expected


def write(folder, job=1, ids=("a", "b"), name="units"):
    rng = np.random.default_rng(job)
    arrays = {u: rng.integers(0, 364, rng.integers(1, 50)) for u in ids}
    with ArchiveWriter(folder, name, job) as writer:
        for u in reversed(ids):
            writer.write(u, arrays[u])
    return arrays


def test_labels_in_any_order(tmp_path):
    folder = tmp_path / "with spaces"
    arrays = {**write(folder, 1, ("c", "a")), **write(folder, 2, ("d", "b"))}
    assert merge_archives(folder, 2) == 4
    reader = ArchiveReader(folder / "units.scp")
    assert list(reader) == ["a", "b", "c", "d"]
    for u in "dbac":
        assert reader[u].dtype == np.int32
        np.testing.assert_array_equal(reader[u], arrays[u])
    assert "e" not in reader
    with pytest.raises(KeyError):
        reader["e"]


def test_kaldiio_reads_them(tmp_path):
    arrays = write(tmp_path)
    merge_archives(tmp_path, 1)
    theirs = kaldiio.load_scp(str(tmp_path / "units.scp"))
    np.testing.assert_array_equal(theirs["b"], arrays["b"])


def test_features(tmp_path):
    matrix = np.random.default_rng(0).standard_normal((50, 40))
    with ArchiveWriter(tmp_path, "feats") as writer:
        writer.write("a", matrix)
    got = ArchiveReader(tmp_path / "feats.1.scp")["a"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, matrix, rtol=1e-6)


def test_folder_can_be_moved(tmp_path):
    arrays = write(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    np.testing.assert_array_equal(ArchiveReader(tmp_path / "new/units.1.scp")["a"], arrays["a"])


def test_interrupted_job_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), ArchiveWriter(tmp_path) as writer:
        writer.write("a", np.arange(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_bad_arrays_and_ids(tmp_path):
    with ArchiveWriter(tmp_path) as writer:
        writer.write("a", np.arange(3))
        with pytest.raises(ValueError, match="a is written twice"):
            writer.write("a", np.arange(3))
        with pytest.raises(
            ValueError, match=r"vector of integers or a matrix of floats, got.*\(3,\)"
        ):
            writer.write("b", np.zeros(3))
        with pytest.raises(ValueError, match="do not fit into 32 bits"):
            writer.write("c", np.array([2**40]))
        with pytest.raises(ValueError, match="without white space"):
            writer.write("d e", np.arange(3))


def test_merging_needs_all_jobs_and_different_ids(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(ValueError, match="job 2 of 2 has not written"):
        merge_archives(tmp_path, 2)
    write(tmp_path, 2)
    with pytest.raises(ValueError, match="ids that another job has too: a b"):
        merge_archives(tmp_path, 2)


def test_truncated_archive_names_the_id(tmp_path):
    with ArchiveWriter(tmp_path) as writer:
        writer.write("a", np.arange(1000))
    ark = tmp_path / "units.1.ark"
    ark.write_bytes(ark.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"units.1.ark: a at byte 2: truncated"):
        ArchiveReader(tmp_path / "units.1.scp")["a"]
    ark.unlink()
    with pytest.raises(ValueError, match="is not there"):
        ArchiveReader(tmp_path / "units.1.scp")["a"]


HEAD = b"\0B\4"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (HEAD + b"\3\0", "no number of labels"),
        (HEAD + b"\xff\xff\xff\xff" + bytes(50), "no number of labels"),
        (HEAD + b"\xff\xff\xff\x7f" + b"\4\1\0\0\0" * 3, "2147483647 labels promised, found 3"),
        (HEAD + b"\2\0\0\0" + b"\4\1\0\0\0" + b"\1\1\0\0\0", "labels of four bytes expected"),
    ],
)
def test_a_damaged_vector_is_named(tmp_path, damage, said):
    ark = tmp_path / "units.1.ark"
    ark.write_bytes(b"a " + damage)
    with pytest.raises(ValueError, match=f"a at byte 2: truncated or damaged archive .{said}"):
        read_array(ark, 2, "a")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (b"FM \4" + b"\xff\xff\xff\x7f\4" * 2 + bytes(50), "truncated or damaged archive"),
        (b"DM \4" + b"\xff\xff\xff\x7f\4" * 2 + bytes(50), "truncated or damaged archive"),
        (b"FM \4" + b"\5\0\0\0\4" * 2 + bytes(50), "truncated or damaged archive"),
        (b"FV \4\xff\xff\xff\x7f" + bytes(48), "a matrix or a vector of integers expected"),
    ],
)
def test_a_damaged_matrix_is_named(tmp_path, array, said):
    """Also one of a size that no memory holds; kaldiio reads as much of a vector as is there."""
    ark = tmp_path / "feats.1.ark"
    ark.write_bytes(b"a \0B" + array)
    with pytest.raises(ValueError, match=f"a at byte 2: {said}"):
        read_array(ark, 2, "a")


def test_labels_are_read_as_kaldiio_reads_them(tmp_path):
    rows = {"a": [3, -1, 2**31 - 1, -(2**31)], "b": [], "c": list(range(5000))}
    with ArchiveWriter(tmp_path) as writer:
        for utterance, row in rows.items():
            writer.write(utterance, np.array(row, np.int64))
    theirs = kaldiio.load_scp(str(tmp_path / "units.1.scp"))
    ours = ArchiveReader(tmp_path / "units.1.scp")
    for utterance, row in rows.items():
        assert ours[utterance].dtype == np.int32 and ours[utterance].flags.writeable
        assert ours[utterance].tolist() == theirs[utterance].tolist() == row


def test_labels_are_not_read_one_by_one(tmp_path):
    with ArchiveWriter(tmp_path) as writer:
        writer.write("a", np.zeros(200_000, np.int64))
    start = time.process_time()
    for _ in range(5):
        read_array(tmp_path / "units.1.ark", 2, "a")
    assert time.process_time() - start < 0.2  # one by one they take a second


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran code from an archive')",)


def test_pickles_and_commands_are_not_run(tmp_path):
    (tmp_path / "units.1.ark").write_bytes(b"a PKL" + pickle.dumps(_Bomb()))
    scp = tmp_path / "units.scp"
    scp.write_text(f"a {tmp_path}/units.1.ark:2\nb touch {tmp_path}/made |\n")
    reader = ArchiveReader(scp)
    for u in "ab":
        with pytest.raises(ValueError):
            reader[u]
    assert not (tmp_path / "made").exists()


def test_unit_info_must_be_right(tmp_path):
    with pytest.raises(ValueError, match="frame_shift expected.*: no units in"):
        read_unit_info(tmp_path)
    write_unit_info(tmp_path, 0.01, ["SIL"])
    (tmp_path / "frame_shift").write_text("ten ms")
    with pytest.raises(ValueError, match="seconds expected, got 'ten ms'"):
        read_unit_info(tmp_path)
    for content, message in ((b"\xff\xfe0\0", "frame_shift: .*UTF-16"), (b"0.0\xe9", "iconv")):
        (tmp_path / "frame_shift").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_unit_info(tmp_path)


def test_archives_that_were_moved_are_named_by_their_place(tmp_path):
    """Jobs write into a folder of their own, whose files are moved before they are joined."""
    plain, moved, own = tmp_path / "plain", tmp_path / "units:1.ark", tmp_path / ".jobs.x"
    for folder in (plain, own):
        arrays = write(folder, 1, ("c", "a")) | write(folder, 2, ("b",)) | write(folder, 3, ())
    own.rename(moved)
    for folder in (plain, moved):
        assert merge_archives(folder, 3) == 3
    for name in ("units.scp", "units.1.scp", "units.2.scp", "units.3.scp"):
        expected = (plain / name).read_text().replace(str(plain), str(moved))
        assert (moved / name).read_text() == expected
    theirs = kaldiio.load_scp(str(plain / "units.scp"))
    np.testing.assert_array_equal(theirs["b"], arrays["b"])
