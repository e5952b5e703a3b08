"""Data directories with `segments`: utterances are parts of recordings, wherever they are read."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data import audio
from speechlm.data.audio import read_audio
from speechlm.data.audio_blocks import BLOCK
from speechlm.data.dir_parts import combine, split
from speechlm.data.fairseq_format import cut_segments, export_audio, import_audio, read_manifest
from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.ranges import check_ranges
from speechlm.data.report import Report
from speechlm.data.segments import AudioRange, Segment, SegmentError

LENIENT = FormatOptions(max_bad_share=1.0)


def kinds(report):
    return {item.utterance: item.kind for item in report.items}


def write_dir(folder: Path, recordings: dict, segments: list[str], more: str = "") -> Path:
    """A data directory of speaker s; `more`: ids that only utt2spk and text have."""
    folder.mkdir()
    ids = sorted({line.split()[0] for line in segments} | set(more.split()))
    (folder / "wav.scp").write_text("".join(f"{r} {p}\n" for r, p in sorted(recordings.items())))
    (folder / "segments").write_text("".join(f"{line}\n" for line in sorted(segments)))
    (folder / "utt2spk").write_text("".join(f"{u} s\n" for u in ids))
    (folder / "text").write_text("".join(f"{u} HELLO\n" for u in ids))
    return folder


@pytest.fixture
def recording(tmp_path, helpers):
    """(path, samples (S,)) of 20 s."""
    path = tmp_path / "long recording.flac"
    soundfile.write(path, helpers.tone(20), 16000)
    return str(path), soundfile.read(path, dtype="float32")[0]


@pytest.fixture
def directory(tmp_path, recording):
    """A data directory of five parts of a recording, one of them the whole."""
    lines = ["s-1 r 0 3.5", "s-2 r 3.50 7.123 0", "s-3 r 6.0000625 9", "s-4 r 12 -1", "s-5 r 0 -1"]
    return write_dir(tmp_path / "data", {"r": recording[0]}, lines)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_samples_survive_being_written_as_seconds(rate):
    random = np.random.default_rng(rate)
    for start in random.integers(0, 4 * 3600 * rate, 300).tolist():
        stop = start + int(random.integers(1, 40 * rate))
        segment = Segment.of_samples("r", start, stop, rate)
        again = Segment.parse(str(segment))
        assert again == segment and again.samples(rate) == (start, stop)


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("r 0 1.5", Segment("r", 0.0, 1.5)),
        ("r 1 -1", Segment("r", 1.0, None)),
        ("r 1.00 -1.00 1", Segment("r", 1.0, None, 1)),
        ("r  0.5\t2 -1", Segment("r", 0.5, 2.0)),
    ],
)
def test_lines_that_are_segments(value, segment):
    assert Segment.parse(value) == segment
    assert Segment.parse(str(segment)) == segment


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", "bad segment"),
        ("r 0", "bad segment"),
        ("r 0 1 2 3", "bad segment"),
        ("r one 2", "bad segment"),
        ("r 0 1_0", "bad segment"),
        ("r 0 nan", "bad segment"),
        ("r 0 inf", "bad segment"),
        ("r -0.5 2", "bad segment"),
        ("r 0 -2", "bad segment"),
        ("r 0 1 A", "bad segment"),
        ("r 0 1 -2", "bad segment"),
        ("r 2 1", "segment ends before it starts"),
        ("r 2 2", "segment ends before it starts"),
    ],
)
def test_lines_that_are_none(value, kind):
    with pytest.raises(SegmentError) as error:
        Segment.parse(value)
    assert error.value.kind == kind


def test_audio_is_that_of_the_range(directory, recording):
    path, wave = recording
    data = DataDir.read(directory)
    assert len(data) == 5 and data.wav == dict.fromkeys(data.ids, path)
    expected = {"s-1": (0, 56000), "s-2": (56000, 113968), "s-3": (96001, 144000)}
    expected |= {"s-4": (192000, 320000), "s-5": (0, 320000)}
    for utterance, (start, stop) in expected.items():
        np.testing.assert_array_equal(data.audio(utterance).read(), wave[start:stop])
    part = data.audio("s-3").part(100, 2000)
    np.testing.assert_array_equal(part.read(), wave[96101:98101])
    assert str(data.audio("s-1")) == f"{path}, samples 0..56000"
    assert str(data.audio("s-5")) == path


def test_only_the_range_is_read(directory, samples_read):
    DataDir.read(directory).audio("s-2").read()
    assert samples_read == [57968]


def test_round_trip_split_and_combine(tmp_path, directory, helpers):
    data = DataDir.read(directory)
    data.write(tmp_path / "again")
    assert DataDir.read(tmp_path / "again") == data
    assert (tmp_path / "again/wav.scp").read_text().split()[0] == "r"
    split(directory, tmp_path / "parts", 3)
    parts = [DataDir.read(tmp_path / "parts" / str(number)) for number in (1, 2, 3)]
    assert combine(parts) == data
    # with whole files, one of which has the name of a recording
    whole = DataDir({"r": "other.flac", "t": "t.flac"}, {"r": "r", "t": "t"}, {"r": "A", "t": "B"})
    both = combine([data, whole])
    both.write(tmp_path / "both")
    again = DataDir.read(tmp_path / "both")
    for utterance in both.ids:
        assert again.audio(utterance) == both.audio(utterance)
    assert again.wav["r"] == "other.flac" and "t" not in again.segments
    # a directory without parts does not keep an older table
    whole.write(tmp_path / "both")
    assert not (tmp_path / "both" / "segments").exists()
    other = DataDir({"x": "x.flac"}, {"x": "x"}, {"x": "X"}, segments={"x": Segment("r", 0, 1)})
    with pytest.raises(ValueError, match="recording r is two files, .*x.flac; one of them needs"):
        combine([data, other])


def test_an_older_split_of_parts_of_recordings_is_replaced(tmp_path, directory):
    split(directory, tmp_path / "split", 3)
    split(directory, tmp_path / "split", 2)
    assert sorted(path.name for path in (tmp_path / "split").iterdir()) == ["1", "2"]


def test_a_strict_reader_names_segments(tmp_path, recording):
    one = {"r": recording[0]}
    folder = write_dir(tmp_path / "a", one, ["s-1 r 0 1", "s-2 q 0 1"])
    with pytest.raises(ValueError, match=r"segments: s-2: q is not in wav\.scp"):
        DataDir.read(folder)
    folder = write_dir(tmp_path / "b", one, ["s-1 r 0 1", "s-2 r 2 1"])
    with pytest.raises(ValueError, match=r"segments: s-2: segment ends before it starts: 2\.\.1 s"):
        DataDir.read(folder)
    (folder / "segments").write_text("")
    with pytest.raises(ValueError, match="segments is empty: utterances expected"):
        DataDir.read(folder)
    folder = write_dir(tmp_path / "c", one, ["s-1 r 0 1"], more="s-9")
    with pytest.raises(ValueError, match="segments and utt2spk have different ids: s-9"):
        DataDir.read(folder)


def test_what_is_wrong_is_left_out_and_listed(tmp_path, recording, helpers):
    lines = ["s-0 r 1 2", "s-1 r 3 2", "s-2 absent 0 1", "s-3 r 0 1", "s-3 r 0 2", "s-4 r one 2"]
    lines += ["s-5 twice 0 1", "s-6 r 1 2 3 4 5", "s-7"]
    recordings = {"r": recording[0], "unused": recording[0], "twice": "a.flac"}
    folder = write_dir(tmp_path / "data", recordings, lines, more="s-8")
    with (folder / "wav.scp").open("a") as file:
        file.write("twice b.flac\n")
    data, report = helpers.checked(folder)
    assert data.ids == ["s-0"] and data.audio("s-0") == AudioRange(recording[0], 16000, 32000)
    assert kinds(report) == {
        "s-1": "segment ends before it starts",
        "s-2": "segment without a recording",
        "s-3": "duplicate id",
        "s-4": "bad segment",
        "s-5": "segment without a recording",
        "s-6": "bad segment",
        "s-7": "id without a value",
        "s-8": "no segment",
        "twice": "duplicate id",
        "unused": "recording without segments",
    }
    assert all(i.path.endswith("/segments") for i in report.items if i.utterance.startswith("s-"))
    with pytest.raises(ValueError, match="s-1 .*/segments"):
        helpers.dump_of(folder, tmp_path / "dump", FormatOptions())


def test_recordings_without_segments_do_not_hide_wrong_ones(tmp_path, recording, helpers):
    recordings = {f"r{n}": recording[0] for n in range(50)}
    folder = write_dir(tmp_path / "data", recordings, ["s-1 r1 0 1", "s-2 r2 90 95"])
    with pytest.raises(ValueError, match="1 of 2 utterances are wrong"):
        helpers.dump_of(folder, tmp_path / "dump", FormatOptions())


def test_nothing_is_copied_of_16_khz_flac(tmp_path, directory, recording, helpers):
    data, report = helpers.dump_of(directory, tmp_path / "dump", FormatOptions())
    assert report.items == [] and not (tmp_path / "dump" / "audio").exists()
    assert data == DataDir.read(tmp_path / "dump")
    wave = recording[1]
    assert data.n_samples == {
        "s-1": 56000, "s-2": 57968, "s-3": 47999, "s-4": 128000, "s-5": 320000
    }  # fmt: skip
    np.testing.assert_array_equal(data.audio("s-3").read(), wave[96001:144000])
    assert (tmp_path / "dump/segments").read_text().splitlines()[2] == "s-3 r 6.0000625 9"
    # again, from what it made
    again, _ = helpers.dump_of(tmp_path / "dump", tmp_path / "dump2", FormatOptions())
    assert again == data


def test_a_recording_and_its_only_utterance_of_the_same_name(tmp_path, recording, helpers):
    folder = write_dir(tmp_path / "data", {"s-a": recording[0]}, ["s-a s-a 1.00 3.00"])
    data, _ = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert data.n_samples == {"s-a": 32000}
    np.testing.assert_array_equal(data.audio("s-a").read(), recording[1][16000:48000])


def test_checks_are_those_of_the_range(tmp_path, helpers):
    wave = helpers.tone(10)
    wave[32000:64000] = 0
    soundfile.write(tmp_path / "a.flac", wave, 16000)
    lines = ["s-1 a 0 2", "s-2 a 2 4", "s-3 a 3.9 4.1", "s-4 a 9 10.02", "s-5 a 9 10.2"]
    lines += ["s-6 a 11 12", "s-7 a 4 4.02", "s-8 a 0 2 1", "s-9 a 2 -1"]
    folder = write_dir(tmp_path / "data", {"a": tmp_path / "a.flac"}, lines)
    data, report = helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    assert data.ids == ["s-1", "s-3", "s-4", "s-9"]
    assert kinds(report) == {
        "s-2": "empty audio",
        "s-4": "segment reaches beyond the end",
        "s-5": "segment outside of its recording",
        "s-6": "segment outside of its recording",
        "s-7": "too short",
        "s-8": "segment outside of its recording",
    }
    assert data.n_samples["s-4"] == 16000
    detail = next(i.detail for i in report.items if i.utterance == "s-5")
    assert detail == "9.000..10.200 s expected, the recording has 10.000 s"


@pytest.mark.parametrize("quick", [False, True])
def test_a_damaged_recording_takes_all_its_utterances(
    tmp_path, directory, recording, quick, helpers
):
    content = Path(recording[0]).read_bytes()
    Path(recording[0]).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match="no utterance is left.*5 truncated audio"):
        helpers.dump_of(directory, tmp_path / "dump", FormatOptions(quick=quick, max_bad_share=1))
    report = Report.read(tmp_path / "dump" / "report.tsv")
    assert set(kinds(report)) == {f"s-{n}" for n in range(1, 6)}


def test_a_recording_is_decoded_once(tmp_path, recording, samples_read, helpers):
    lines = [f"s-{n:03d} r {n / 10} {n / 10 + 5}" for n in range(100)]
    folder = write_dir(tmp_path / "data", {"r": recording[0]}, lines)
    data, _ = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert len(data) == 100 and sum(samples_read) == len(recording[1])


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3"])
def test_other_formats_become_a_file_an_utterance(tmp_path, suffix, helpers):
    time = np.arange(5 * 44100) / 44100
    # the pitch tells the second
    wave = 0.4 * np.sin(2 * np.pi * (300 * time + 100 * time**2))
    soundfile.write(tmp_path / f"a.{suffix}", wave, 44100)
    lines = ["s-1 a 0.5 1.5", "s-2 a 3 4.25"]
    folder = write_dir(tmp_path / "data", {"a": tmp_path / f"a.{suffix}"}, lines)
    data, report = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert report.items == [] and not data.segments
    assert data == DataDir.read(tmp_path / "dump")
    assert data.wav["s-2"] == str(tmp_path / "dump/audio/s-2.flac")
    for utterance, start in (("s-1", 0.5), ("s-2", 3.0)):
        found = read_audio(data.wav[utterance])
        assert len(found) == data.n_samples[utterance]
        at = start + np.arange(len(found)) / 16000
        expected = 0.4 * np.sin(2 * np.pi * (300 * at + 100 * at**2))
        middle = slice(800, -800)
        assert np.corrcoef(found[middle], expected[middle])[0, 1] > 0.98
    assert data.n_samples == {"s-1": 16000, "s-2": 20000}


def test_silence_is_seen_over_bounds_of_blocks(tmp_path):
    """Compared with the samples themselves."""
    random = np.random.default_rng(0)
    wave = np.zeros(200 * 8000, np.int16)
    for second in random.integers(0, 200, 40):
        wave[second * 8000 + random.integers(8000)] = 1
    wave[BLOCK - 80000 : BLOCK + 80000] = 0
    wave[BLOCK + 4000] = wave[0] = 1
    soundfile.write(tmp_path / "a.flac", wave, 8000)
    segments = [Segment("a", float(a), float(a + random.uniform(0.1, 12))) for a in range(188)]
    bound = BLOCK / 8000
    for start, stop in ((-5, 0.4), (-5, 0.6), (-5, 0), (0, 0.6), (0.4, 0.6), (0.6, 9), (-0.1, 0.1)):
        segments.append(Segment("a", bound + start, bound + stop))
    segments += [Segment("a", bound, None), Segment("a", 0.0, None)]
    info, found = check_ranges(str(tmp_path / "a.flac"), 8000, segments)
    assert info.n_samples == len(wave) > BLOCK
    silent = [not wave[slice(*segment.samples(8000))].any() for segment in segments]
    assert [isinstance(at, audio.EmptyAudio) for at in found] == silent
    assert 10 < sum(silent) < 180


def test_channels(tmp_path, helpers):
    both = np.stack([helpers.tone(3, seed=1), helpers.tone(3, seed=2)], 1)
    soundfile.write(tmp_path / "a.flac", both, 16000)
    both = soundfile.read(tmp_path / "a.flac", dtype="float32")[0]
    lines = ["s-1 a 1 2 0", "s-2 a 1 2 1", "s-3 a 1 2 2", "s-4 a 1 2"]
    folder = write_dir(tmp_path / "data", {"a": tmp_path / "a.flac"}, lines)
    data, report = helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    assert kinds(report) == {
        "s-3": "segment outside of its recording",
        "s-4": "more than one channel",
    }
    for utterance, channel in (("s-1", 0), ("s-2", 1)):
        found, expected = data.audio(utterance).read(), both[16000:32000, channel]
        np.testing.assert_allclose(found, expected, atol=4e-5)
    options = FormatOptions(mix_channels=True, max_bad_share=1)
    mixed, _ = helpers.dump_of(folder, tmp_path / "mixed", options)
    expected = both[16000:32000].mean(axis=1)
    np.testing.assert_allclose(mixed.audio("s-4").read(), expected, atol=4e-5)
    np.testing.assert_allclose(mixed.audio("s-2").read(), both[16000:32000, 1], atol=4e-5)


def test_parts_that_are_not_finite_or_silent_elsewhere(tmp_path, helpers):
    wave = helpers.tone(4)
    wave[20000] = np.nan
    wave[32000:48000] = 0
    soundfile.write(tmp_path / "a.wav", wave, 16000, "FLOAT")
    lines = ["s-1 a 0 1", "s-2 a 1 2", "s-3 a 2 3", "s-4 a 2.5 4"]
    folder = write_dir(tmp_path / "data", {"a": tmp_path / "a.wav"}, lines)
    data, report = helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    assert kinds(report) == {"s-2": "unreadable audio", "s-3": "empty audio"}
    assert data.ids == ["s-1", "s-4"]


def test_kept_and_converted_recordings_together(tmp_path, recording, helpers):
    """The converted utterance has the name of the recording that is kept."""
    soundfile.write(tmp_path / "b.wav", helpers.tone(4, 8000), 8000)
    lines = ["s-1 s-2 0 2", "s-2 b 1 3"]
    folder = write_dir(tmp_path / "data", {"s-2": recording[0], "b": tmp_path / "b.wav"}, lines)
    helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    data = DataDir.read(tmp_path / "dump")
    np.testing.assert_array_equal(data.audio("s-1").read(), recording[1][:32000])
    assert data.wav["s-2"] == str(tmp_path / "dump/audio/s-2.flac")
    assert len(data.audio("s-2").read()) == data.n_samples["s-2"] == 32000


def test_other_times_are_converted_again(tmp_path, helpers):
    soundfile.write(tmp_path / "a.wav", helpers.tone(4, 8000), 8000)
    folder = write_dir(tmp_path / "data", {"a": tmp_path / "a.wav"}, ["s-1 a 0 2"])
    made = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())[0].wav["s-1"]
    before = os.stat(made).st_ino
    helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert os.stat(made).st_ino == before
    (folder / "segments").write_text("s-1 a 1 3\n")
    data, _ = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    later = read_audio(data.wav["s-1"])
    (folder / "segments").write_text("s-1 a 0 2\n")
    data, _ = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert not np.array_equal(read_audio(data.wav["s-1"]), later)


def test_jobs_do_not_change_the_result(tmp_path, recording, helpers):
    soundfile.write(tmp_path / "b.wav", helpers.tone(4, 8000), 8000)
    recordings = {"a": recording[0], "b": tmp_path / "b.wav", "s-9": recording[0]}
    lines = ["s-1 b 0 2", "s-2 a 1 3", "s-3 a 30 40", "s-4 a 3 -1", "s-9 s-9 0 -1"]
    lines += ["s-5 b 3.999 4", "s-6 a 30 31", "s-7 b 9 10", "s-8 b 3.99 4"]
    folder = write_dir(tmp_path / "data", recordings, lines)
    one, first = helpers.dump_of(folder, tmp_path / "one", LENIENT, 1)
    three, second = helpers.dump_of(folder, tmp_path / "three", LENIENT, 3)
    assert one.n_samples == three.n_samples and first == second
    assert one.segments == three.segments and set(one.segments) == {"s-2", "s-4"}
    again = helpers.dump_of(folder, tmp_path / "one", LENIENT, 1)[1]
    assert again == first and [i.utterance[2:] for i in again.items] == list("35678")


def test_a_manifest_gets_files(tmp_path, directory, recording, helpers):
    data, _ = helpers.dump_of(directory, tmp_path / "dump", FormatOptions())
    with pytest.raises(ValueError, match=r"5 utterances are parts of recordings \(segments\)"):
        export_audio(data, tmp_path / "train.tsv")
    chosen = data.subset(["s-1", "s-2", "s-3"])
    export_audio(cut_segments(chosen, tmp_path / "audio"), tmp_path / "train.tsv")
    back = import_audio(read_manifest(tmp_path / "train.tsv"))
    assert back.n_samples == chosen.n_samples
    for utterance in chosen.ids:
        expected = chosen.audio(utterance).read()
        np.testing.assert_allclose(back.audio(utterance).read(), expected, atol=4e-5)
    chosen.n_samples["s-2"] += 1
    with pytest.raises(ValueError, match="s-2: .*utt2num_samples says 57969, found 57968"):
        cut_segments(chosen, tmp_path / "audio")


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_parts_beyond_the_first_block_of_a_compressed_recording(
    tmp_path, suffix, monkeypatch, helpers
):
    monkeypatch.setattr(audio, "read_blocks", partial(audio.read_blocks, size=30000))
    time = np.arange(10 * 16000) / 16000
    wave = 0.4 * np.sin(2 * np.pi * (300 * time + 100 * time**2))
    soundfile.write(tmp_path / f"a.{suffix}", wave, 16000)
    whole = soundfile.read(tmp_path / f"a.{suffix}", dtype="float32")[0]
    lines = [f"s-{n} a {n} {n + 2.5}" for n in range(8)] + ["s-9 a 9 -1"]
    folder = write_dir(tmp_path / "data", {"a": tmp_path / f"a.{suffix}"}, lines)
    data, report = helpers.dump_of(folder, tmp_path / "dump", FormatOptions())
    assert len(data) == 9 and report.items == []
    for utterance in data.ids:
        start = 16000 * int(utterance[2:])
        found = read_audio(data.wav[utterance])
        np.testing.assert_allclose(found, whole[start : start + len(found)], atol=1e-4)
        assert len(found) == (40000 if start < 9 * 16000 else len(whole) - start)
