"""Stage 2: what is wrong is left out and listed, what is right is 16 kHz mono FLAC."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.conventions import Framing
from speechlm.data import audio
from speechlm.data.audio import read_audio, resample
from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.librispeech import read_librispeech
from speechlm.data.report import Report
from speechlm.data.segments import Segment

LENIENT = FormatOptions(max_bad_share=1.0)


def audio_of(source, utterance):
    return DataDir.read(source[0]).wav[utterance]


def kinds(report):
    return {item.utterance: item.kind for item in report.items}


def test_sound_corpus_is_read_in_place(tmp_path, source, helpers):
    data, report = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    assert report.items == []
    assert data == DataDir.read(tmp_path / "dump")
    assert data.wav == DataDir.read(source[0]).wav
    assert data.n_samples["7-100-0003"] == len(read_audio(data.wav["7-100-0003"])) == 20800
    assert not (tmp_path / "dump" / "audio").exists()
    assert (tmp_path / "dump" / "report.tsv").read_text() == "# nothing wrong\n"


def test_bad_audio_is_left_out_and_listed(tmp_path, source, helpers):
    paths = [audio_of(source, u) for u in source[1][:6]]
    content = Path(paths[0]).read_bytes()
    Path(paths[0]).write_bytes(content[: len(content) // 2])
    Path(paths[1]).write_bytes(b"")
    os.unlink(paths[2])
    Path(paths[3]).write_text("no audio")
    soundfile.write(paths[4], np.stack([helpers.tone()] * 2, 1), 16000)
    soundfile.write(paths[5], np.zeros(16000), 16000)
    data, report = helpers.dump_of(source[0], tmp_path / "dump", LENIENT)
    expected = ["truncated audio", "empty audio", "unreadable audio", "unreadable audio"]
    expected += ["more than one channel", "empty audio"]
    assert kinds(report) == dict(zip(source[1][:6], expected, strict=True))
    assert data.ids == source[1][6:]
    assert set(data.text) == set(data.wav) == set(data.n_samples)
    written = (tmp_path / "dump" / "report.tsv").read_text()
    assert "# left out, empty audio: 2\n" in written
    assert Report.read(tmp_path / "dump" / "report.tsv") == report
    line = next(li for li in written.splitlines() if li.startswith("left out\ttruncated"))
    assert line.split("\t")[2:4] == [source[1][0], paths[0]]


def test_too_many_bad_ones_stop_the_stage(tmp_path, source, helpers):
    for utterance in source[1][:2]:
        Path(audio_of(source, utterance)).write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 10 utterances are wrong.*max_bad_share") as error:
        helpers.dump_of(source[0], tmp_path / "dump", FormatOptions(max_bad_share=0.19))
    assert source[1][0] in str(error.value)
    assert audio_of(source, source[1][0]) in str(error.value)
    assert not (tmp_path / "dump" / "wav.scp").exists()
    assert (tmp_path / "dump" / "report.tsv").exists()
    assert (
        len(helpers.dump_of(source[0], tmp_path / "dump", FormatOptions(max_bad_share=0.2))[0]) == 8
    )


def test_nothing_left_stops_the_stage(tmp_path, source, helpers):
    for utterance in source[1]:
        Path(audio_of(source, utterance)).write_bytes(b"")
    with pytest.raises(ValueError, match="no utterance is left"):
        helpers.dump_of(source[0], tmp_path / "dump", LENIENT)


def test_filters_that_leave_nothing_stop_the_stage(tmp_path, source, helpers):
    with pytest.raises(ValueError, match="no utterance is left.*10 too short"):
        helpers.dump_of(source[0], tmp_path / "dump", FormatOptions(min_seconds=60))


def test_length_filters_are_counted(tmp_path, source, helpers):
    options = FormatOptions(min_seconds=1.15, max_seconds=1.35, max_bad_share=0.0)
    data, report = helpers.dump_of(source[0], tmp_path / "dump", options)
    assert report.counts() == {("filtered", "too short"): 4, ("filtered", "too long"): 2}
    assert set(data.n_samples.values()) == {19200, 20800}


def test_other_formats_are_converted(tmp_path, source, helpers):
    paths = [audio_of(source, u) for u in source[1][:3]]
    soundfile.write(paths[0], helpers.tone(2, 8000), 8000)
    time = np.arange(44100) / 44100
    soundfile.write(paths[1], 0.5 * np.sin(2 * np.pi * 500 * time), 44100)
    soundfile.write(paths[2], helpers.tone(1, seed=3), 16000, format="WAV")
    data, report = helpers.dump_of(source[0], tmp_path / "dump dir", FormatOptions())
    assert report.items == []
    for utterance in source[1][:3]:
        assert data.wav[utterance] == str(tmp_path / "dump dir" / "audio" / f"{utterance}.flac")
        assert soundfile.info(data.wav[utterance]).format == "FLAC"
        assert len(read_audio(data.wav[utterance])) == data.n_samples[utterance]
    assert data.n_samples[source[1][0]] == 32000
    sine = read_audio(data.wav[source[1][1]])
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    np.testing.assert_allclose(sine[400:-400], expected[400:-400], atol=2e-3)
    np.testing.assert_allclose(
        read_audio(data.wav[source[1][2]]), helpers.tone(1, seed=3), atol=1e-4
    )


def test_conversion_continues_and_follows_changes(tmp_path, source, helpers):
    path = audio_of(source, source[1][0])
    soundfile.write(path, helpers.tone(1, 8000), 8000)
    data, _ = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    made = data.wav[source[1][0]]
    first = os.stat(made).st_mtime_ns
    helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    assert os.stat(made).st_mtime_ns == first
    soundfile.write(path, helpers.tone(2, 8000), 8000)
    os.utime(path, ns=(10**18, 10**18))  # an older recording may take the place of a newer one
    data, _ = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    assert data.n_samples[source[1][0]] == 32000
    Path(made).write_bytes(b"half")
    data, _ = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    assert len(read_audio(made)) == 32000


def test_a_killed_run_leaves_no_older_dump(tmp_path, source, helpers, monkeypatch):
    """Its audio may be gone, or be that of other options."""
    soundfile.write(audio_of(source, source[1][0]), helpers.tone(1, 8000), 8000)
    helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("speechlm.data.format.prepare_part", killed)
    with pytest.raises(KeyboardInterrupt):
        helpers.dump_of(source[0], tmp_path / "dump", FormatOptions(rate=8000))
    with pytest.raises(ValueError, match="wav.scp expected, but it is not there"):
        DataDir.read(tmp_path / "dump")


def test_another_recording_of_the_same_age_is_converted(tmp_path, source, helpers):
    """Unpacked and copied corpora often have one time for all files."""
    (tmp_path / "new").mkdir()
    paths = [tmp_path / "new" / f"{n}.wav" for n in range(3)]
    for n, path in enumerate(paths):
        soundfile.write(path, helpers.tone(1, 8000, n), 8000)
        os.utime(path, ns=(10**18, 10**18))
    utterance = source[1][0]

    def converted(path):
        data = DataDir.read(source[0])
        data.wav[utterance] = str(path)
        data.write(tmp_path / "other")
        data, _ = helpers.dump_of(tmp_path / "other", tmp_path / "dump", FormatOptions())
        return read_audio(data.wav[utterance])

    first, second = converted(paths[0]), converted(paths[1])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(converted(paths[0]), first)
    soundfile.write(paths[0], helpers.tone(0.5, 8000, 9), 8000)  # shorter, and as old
    os.utime(paths[0], ns=(10**18, 10**18))
    assert len(converted(paths[0])) == 8000


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_file_that_changes_while_it_is_read(tmp_path, helpers, monkeypatch, rate, in_parts):
    """Such as one that a download is still writing."""
    path = tmp_path / "a.flac"
    soundfile.write(path, helpers.tone(2, rate), rate)
    DataDir(
        {"s-1": str(path)},
        {"s-1": "s"},
        segments={"s-1": Segment("a", 0.0, 1.0)} if in_parts else {},
    ).write(tmp_path / "data")
    decode = audio.decode

    def slow(*args):
        yield from decode(*args)
        monkeypatch.setattr(audio, "decode", decode)
        soundfile.write(path, helpers.tone(3, rate, 1), rate)

    monkeypatch.setattr(audio, "decode", slow)
    with pytest.raises(ValueError, match="changed while it was read"):
        helpers.dump_of(tmp_path / "data", tmp_path / "dump", LENIENT)
    data, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", LENIENT)
    assert report.items == []
    assert data.n_samples == {"s-1": 16000 if in_parts else 48000}
    expected = resample(helpers.tone(3, rate, 1), rate, 16000)[: data.n_samples["s-1"]]
    np.testing.assert_allclose(data.audio("s-1").read()[:-500], expected[:-500], atol=1e-3)


def test_stereo_can_be_mixed(tmp_path, source, helpers):
    path = audio_of(source, source[1][0])
    soundfile.write(path, np.stack([helpers.tone()] * 2, 1), 16000)
    data, report = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions(mix_channels=True))
    assert len(data) == 10
    np.testing.assert_allclose(read_audio(data.wav[source[1][0]]), helpers.tone(), atol=1e-4)


def test_jobs_do_not_change_the_result(tmp_path, source, helpers):
    soundfile.write(audio_of(source, source[1][4]), helpers.tone(1, 8000), 8000)
    Path(audio_of(source, source[1][7])).write_bytes(b"")
    one, first = helpers.dump_of(source[0], tmp_path / "one", LENIENT, 1)
    three, second = helpers.dump_of(source[0], tmp_path / "three", LENIENT, 3)
    assert one.n_samples == three.n_samples
    assert first == second
    left, right = (audio_of((tmp_path / d, 0), source[1][4]) for d in ("one", "three"))
    assert Path(left).read_bytes() == Path(right).read_bytes()


def test_wrong_options(tmp_path, source, helpers):
    with pytest.raises(ValueError, match="min_seconds <= max_seconds expected, got 3 and 2"):
        FormatOptions(min_seconds=3, max_seconds=2)
    with pytest.raises(ValueError, match=r"max_bad_share of 0\.\.1"):
        FormatOptions(max_bad_share=5)
    with pytest.raises(ValueError, match="two different directories"):
        helpers.dump_of(source[0], source[0], LENIENT)


def test_report_of_the_stage_before_is_continued(tmp_path, source, helpers):
    report = Report()
    report.leave_out("no transcript", "7-100-0099", "a corpus/x.flac")
    report.write(source[0] / "report.tsv")
    data, report = helpers.dump_of(source[0], tmp_path / "dump", LENIENT)
    assert len(data) == 10
    assert kinds(report) == {"7-100-0099": "no transcript"}


def test_all_of_the_real_corpus_is_sound(tmp_path, shared, helpers):
    data, _ = read_librispeech(shared / "data" / "LibriSpeech", ["dev-mini"])
    data.write(tmp_path / "data")
    kept, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", FormatOptions(), 2)
    assert (len(kept), report.items) == (100, [])


def test_mp3_is_converted(tmp_path, shared, helpers):
    clips = sorted((shared / "data" / "cv-corpus-6.1" / "en" / "clips").glob("*.mp3"))[:3]
    ids = [c.stem for c in clips]
    data = DataDir(dict(zip(ids, map(str, clips), strict=True)), dict(zip(ids, ids, strict=True)))
    data.write(tmp_path / "data")
    kept, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", FormatOptions())
    assert report.items == []
    for u in ids:
        assert abs(kept.n_samples[u] / 16000 - soundfile.info(data.wav[u]).duration) < 0.1


def write_transcripts(folder: Path, change: dict[str, str]) -> None:
    data = DataDir.read(folder)
    data.text = {**data.text, **change}
    data.write(folder)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_transcripts_that_their_audio_cannot_hold_are_left_out(tmp_path, source, helpers, rate):
    first, second, third = source[1][:3]
    for utterance in (first, second):  # 1 s: 49 frames
        soundfile.write(audio_of(source, utterance), helpers.tone(1.0, rate), rate)
    fits = "OF " * 16
    write_transcripts(source[0], {first: fits, second: f"{fits}A", third: ""})
    data, report = helpers.dump_of(source[0], tmp_path / "dump", LENIENT)
    found = {i.utterance: (i.kind, i.detail) for i in report.items if i.what == "left out"}
    assert found.pop(second) == ("transcript too long for its audio", "49 frames, 50 needed")
    assert second not in data.ids and first in data.ids
    assert set(found) <= {third}  # what becomes of empty transcripts is not this test's subject


def test_frames_of_another_front_end_count(tmp_path, source, helpers):
    coarse = FormatOptions(max_bad_share=1.0, framing=Framing(400, 1280))
    message = r"left out: 10 transcript too long for its audio.*13 frames, 21 needed"
    with pytest.raises(ValueError, match="(?s)" + message):
        helpers.dump_of(source[0], tmp_path / "dump", coarse)
    assert "transcript too long" in (tmp_path / "dump" / "report.tsv").read_text()


def test_audio_without_transcripts_is_kept(tmp_path, source, helpers):
    (source[0] / "text").unlink()
    data, report = helpers.dump_of(source[0], tmp_path / "dump", FormatOptions())
    assert len(data) == 10 and data.text is None and report.items == []


@pytest.mark.parametrize("where", ["beside the data", "an older dump"])
def test_recordings_are_never_taken_for_conversions(tmp_path, source, where, helpers):
    folder = tmp_path / "corpus" / "audio"
    if where == "an older dump":  # whose recordings are read, to be converted in another way
        helpers.dump_of(source[0], tmp_path / "corpus", FormatOptions(rate=8000))
    folder.mkdir(parents=True, exist_ok=True)
    data = DataDir.read(source[0])
    for utterance, path in data.wav.items():
        data.wav[utterance] = str(folder / f"{utterance}.flac")
        Path(data.wav[utterance]).write_bytes(Path(path).read_bytes())
    data.write(tmp_path / "data")
    with pytest.raises(ValueError, match="holds recordings already"):
        helpers.dump_of(tmp_path / "data", tmp_path / "corpus", FormatOptions())
    assert sorted(os.listdir(folder)) == [f"{u}.flac" for u in source[1]]
