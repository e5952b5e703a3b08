"""Libri-Light's layout: segments by tables of voice activity or by energy, of files in place."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.librilight import read_librilight
from speechlm.data.voice_activity import CutOptions

OPTIONS = CutOptions(max_seconds=30, min_seconds=2, max_pause=2)


def kinds(report):
    return {(item.what, item.kind, item.utterance) for item in report.items}


def write(root: Path, name: str, parts: tuple, table: object = None, rate: int = 16000) -> Path:
    """A recording of loud parts and (negative) pauses in seconds, and its JSON file."""
    random = np.random.default_rng(len(name))
    path = root / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces = [
        random.standard_normal(round(abs(s) * rate)) * (0.1 if s > 0 else 0.001) for s in parts
    ]
    soundfile.write(path, np.concatenate(pieces), rate)
    if table is not None:
        content = {"speaker": "7", "book_meta": {"id": "9"}, "snr": 5.4, "voice_activity": table}
        path.with_suffix(".json").write_text(json.dumps(content))
    return path


@pytest.fixture
def corpus(tmp_path):
    """A corpus with what is right and what is wrong."""
    root = tmp_path / "libri light"
    small, large = root / "small", root / "large"
    write(
        small,
        "7/sea/01_sea",
        (60, -3, 20),
        [[0.4, 12.32], [13, 29], [31, 60], [63.1, 64], [70.5, 79]],
    )
    write(small, "7/sea/02_no_json", (10, -5, 7, -4, 0.5, -3))
    write(small, "7/sea/03_broken", (10, -5, 7))
    (small / "7/sea/03_broken.json").write_text('{"voice_activity": [[0.4, 12.3')
    write(small, "7/sea/04_no_table", (10, -5, 7)).with_suffix(".json").write_text('{"snr": 1}')
    write(small, "12/sky/01_beyond", (20,), [[1, 9], [12, 25], [30, 40]])
    write(small, "12/sky/02_silent", (20,), [])
    cut = write(small, "12/sky/03_cut_off", (30,), [[1, 9], [25, 29]])
    cut.write_bytes(cut.read_bytes()[:300_000])
    cut = write(small, "12/sky/04_cut_off_no_json", (30,))
    cut.write_bytes(cut.read_bytes()[:300_000])
    (small / "12/sky/05_no_audio.flac").write_text("no audio")
    (small / "12/sky/06_alone.json").write_text("{}")
    (small / "12/sky/07_empty.flac").touch()
    write(large, "100/a book/name of it", (10,), [[1, 9]])
    write(large, "misplaced", (3,))
    (small / "12/sky/._01_beyond.flac").write_bytes(b"of a Mac")
    return root


def test_segments_and_what_is_said_of_them(corpus):
    data, report = read_librilight(corpus, ["small", "large"], OPTIONS)
    assert {u: (s.start, s.end) for u, s in data.segments.items()} == {
        "7-sea-01_sea-000040": (0.4, 29.0),
        "7-sea-01_sea-003100": (31.0, 60.0),
        "7-sea-01_sea-007050": (70.5, 79.0),
        "7-sea-02_no_json-000000": (0.0, 10.1),
        "7-sea-02_no_json-001490": (14.9, 22.1),
        "7-sea-03_broken-000000": (0.0, 10.1),
        "7-sea-03_broken-001490": (14.9, 22.0),
        "7-sea-04_no_table-000000": (0.0, 10.1),
        "7-sea-04_no_table-001490": (14.9, 22.0),
        "12-sky-01_beyond-000100": (1.0, 9.0),
        "12-sky-01_beyond-001200": (12.0, 20.0),
        "12-sky-03_cut_off-000100": (1.0, 9.0),
        "12-sky-03_cut_off-002500": (25.0, 29.0),
        "100-a%20book-name%20of%20it-000100": (1.0, 9.0),
    }
    assert kinds(report) == {
        ("filtered", "too short", "7-sea-01_sea-006310"),
        ("filtered", "too short", "7-sea-02_no_json-002590"),
        ("fixed", "no table of voice activity", "7-sea-02_no_json"),
        ("fixed", "broken JSON", "7-sea-03_broken"),
        ("fixed", "no table of voice activity", "7-sea-04_no_table"),
        ("fixed", "wrong voice activity", "12-sky-01_beyond"),
        ("fixed", "voice activity beyond the end", "12-sky-01_beyond"),
        ("left out", "no speech", "12-sky-02_silent"),
        ("fixed", "no table of voice activity", "12-sky-04_cut_off_no_json"),
        ("left out", "truncated audio", "12-sky-04_cut_off_no_json"),
        ("left out", "unreadable audio", "12-sky-05_no_audio"),
        ("left out", "empty audio", "12-sky-07_empty"),
        ("fixed", "name that is no id", "100-a%20book-name%20of%20it"),
        ("left out", "table without a recording", "06_alone"),
        ("left out", "misplaced file", "misplaced"),
    }
    assert set(data.utt2spk.values()) == {"7", "12", "100"}
    three = read_librilight(corpus, ["small", "large"], OPTIONS, 3)
    assert three == (data, report)


def test_stage_2_keeps_the_long_files(corpus, tmp_path, helpers):
    data, report = read_librilight(corpus, ["small", "large"], OPTIONS)
    data.write(tmp_path / "data")
    report.write(tmp_path / "data" / "report.tsv")
    dump, report = helpers.dump_of(
        tmp_path / "data", tmp_path / "dump", FormatOptions(max_bad_share=1)
    )
    assert not (tmp_path / "dump" / "audio").exists()
    assert data.wav.keys() - dump.wav.keys() == {
        "12-sky-03_cut_off-000100", "12-sky-03_cut_off-002500"
    }  # fmt: skip
    assert ("left out", "truncated audio", "12-sky-03_cut_off-000100") in kinds(report)
    assert not any(item.kind.startswith("segment") for item in report.items)
    whole = soundfile.read(corpus / "small/7/sea/01_sea.flac", dtype="float32")[0]
    part = dump.audio("7-sea-01_sea-003100")
    np.testing.assert_array_equal(part.read(), whole[496000:960000])
    assert os.path.samefile(part.path, corpus / "small/7/sea/01_sea.flac")


def test_names_that_become_the_same(tmp_path):
    for part in ("small", "duplicate"):
        write(tmp_path / part, "7/sea/01", (5,), [[0, 5]])
    data, report = read_librilight(tmp_path, ["small", "duplicate"], OPTIONS)
    assert list(data.wav.values()) == [str(tmp_path / "small/7/sea/01.flac")]
    assert kinds(report) == {("left out", "duplicate id", "7-sea-01")}


def test_what_systems_leave_is_no_recording(tmp_path):
    for place in ("7/sea/01", "@eaDir/sea/01", "7/__MACOSX/01", "7/.cache/01"):
        write(tmp_path / "small", place, (5,), [[0, 5]])
    data, report = read_librilight(tmp_path, ["small"], OPTIONS)
    assert data.ids == ["7-sea-01-000000"] and report.items == []


@pytest.mark.parametrize("suffix", [".wav", ".MP3", ".m4a", ".sph"])
def test_recordings_of_other_formats_are_listed(tmp_path, suffix):
    write(tmp_path / "small", "7/sea/01", (5,), [[0, 5]])
    (tmp_path / "small" / f"7/sea/02{suffix}").touch()
    _, report = read_librilight(tmp_path, ["small"], OPTIONS)
    assert kinds(report) == {("left out", "not FLAC", "02")}


def test_long_names_become_ids(tmp_path):
    place = f"{'x' * 100}/{'y' * 100}/{'z' * 100}"
    write(tmp_path / "small", place, (5, 20, 5), [[0, 5], [25, 30]])
    data, _ = read_librilight(tmp_path, ["small"], OPTIONS)
    assert len(data) == 2 and {len(u) <= 160 for u in data.ids} == {True}
    data.write(tmp_path / "data")
    assert DataDir.read(tmp_path / "data") == data


def test_a_length_that_the_header_does_not_tell(tmp_path):
    write(tmp_path / "small", "7/sea/01", (30,), [[1, 8], [20, 40]])
    path = tmp_path / "small/7/sea/01.flac"
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # 36 bits
    path.write_bytes(content)
    data, report = read_librilight(tmp_path, ["small"], OPTIONS)
    assert [s.end for s in data.segments.values()] == [8.0, 30.0]
    assert kinds(report) == {("fixed", "voice activity beyond the end", "7-sea-01")}


def test_what_is_not_there(tmp_path, corpus):
    with pytest.raises(ValueError, match="no part medium in .*; it has: large small"):
        read_librilight(corpus, ["small", "medium"], OPTIONS)
    with pytest.raises(ValueError, match="is not a folder"):
        read_librilight(tmp_path / "absent", ["small"], OPTIONS)
    with pytest.raises(ValueError, match="a list of different parts"):
        read_librilight(corpus, ["small", "small"], OPTIONS)
    (tmp_path / "empty" / "small" / "7").mkdir(parents=True)
    with pytest.raises(ValueError, match="no speech in .*empty/small.*NAME.flac expected"):
        read_librilight(tmp_path / "empty", ["small"], OPTIONS)
