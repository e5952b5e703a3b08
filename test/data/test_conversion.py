"""Parts of recordings that are damaged, or whose headers are wrong, on the way into a dump."""

import re

import numpy as np
import pytest
import soundfile

from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report

LENIENT = FormatOptions(max_bad_share=1.0)
SEGMENTS = {"s-1": "0 2", "s-2": "3 5.5", "s-3": "7 -1", "s-4": "9 10.01"}


def save(path, rate, n_seconds=10):
    """(S,) samples of a chirp, written to a file of 16 bits."""
    time = np.arange(n_seconds * rate) / rate
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * (300 * time + 100 * time**2)), rate)
    return soundfile.read(path, dtype="float32")[0]


def write_dir(folder, path):
    folder.mkdir(exist_ok=True)
    (folder / "wav.scp").write_text(f"r {path}\n")
    (folder / "segments").write_text("".join(f"{u} r {at}\n" for u, at in SEGMENTS.items()))
    (folder / "utt2spk").write_text("".join(f"{u} s\n" for u in SEGMENTS))
    return folder


def promise(path, n_samples):
    """Let a FLAC header promise another number of samples; 0: unknown."""
    content = bytearray(path.read_bytes())
    # 36 bits at byte 13 of the stream information, which begins at byte 8
    content[21:26] = bytes([content[21] & 0xF0]) + n_samples.to_bytes(4, "big")
    path.write_bytes(content)


def kinds(report):
    return {(item.what, item.kind, item.utterance) for item in report.items}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("promised", [0, 5])
def test_a_wrong_length_in_the_header_of_flac(tmp_path, rate, promised, quick, helpers):
    """All that is there is used, in files of their own, and every run says so."""
    path = tmp_path / "r.flac"
    wave = save(path, rate)
    promise(path, promised * rate)
    folder = write_dir(tmp_path / "data", path)
    options = FormatOptions(rate=rate, max_bad_share=1.0, quick=quick)
    data, report = helpers.dump_of(folder, tmp_path / "dump", options)
    assert not data.segments and data == DataDir.read(tmp_path / "dump")
    for utterance, (start, stop) in {"s-1": (0, 2), "s-2": (3, 5.5), "s-3": (7, 10)}.items():
        found = soundfile.read(data.wav[utterance], dtype="float32")[0]
        expected = wave[int(start * rate) : int(stop * rate)]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert data.n_samples["s-4"] == rate
    fixed = {("fixed", "segment reaches beyond the end", "s-4")}
    if promised:
        fixed |= {("fixed", "wrong length in the header", utterance) for utterance in SEGMENTS}
    assert kinds(report) == fixed
    assert helpers.dump_of(folder, tmp_path / "dump", options) == (data, report)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_damage_behind_the_last_segment_takes_all(tmp_path, rate, helpers):
    """FLAC's sum is known at the end, when parts have been written."""
    path = tmp_path / "r.flac"
    save(path, rate)
    content = path.read_bytes()
    path.write_bytes(content[:26] + b"another checksum" + content[42:])
    folder = write_dir(tmp_path / "data", path)
    with pytest.raises(ValueError, match="4 unreadable audio"):
        helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    report = Report.read(tmp_path / "dump" / "report.tsv")
    assert kinds(report) == {("left out", "unreadable audio", u) for u in SEGMENTS}
    assert not list(tmp_path.glob("dump/audio/*"))


@pytest.mark.parametrize("suffix", ["flac", "wav", "ogg", "mp3"])
def test_a_recording_that_is_cut_off(tmp_path, suffix, helpers):
    path = tmp_path / f"r.{suffix}"
    save(path, 44100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10 + 1])
    folder = write_dir(tmp_path / "data", path)
    with pytest.raises(ValueError, match="4 truncated audio"):
        helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    assert not list(tmp_path.glob("dump/audio/*"))


def test_a_wav_file_of_unknown_length(tmp_path, helpers):
    path = tmp_path / "r.wav"
    wave = save(path, 16000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    data, report = helpers.dump_of(write_dir(tmp_path / "data", path), tmp_path / "dump", LENIENT)
    np.testing.assert_allclose(data.audio("s-3").read(), wave[7 * 16000 :], atol=1e-4)
    assert ("fixed", "segment reaches beyond the end", "s-4") in kinds(report)
    assert all(re.search("wav", item.path) for item in report.items)


def test_parts_that_are_too_quiet_or_too_loud(tmp_path, helpers):
    """Judged on what is written, as whole files are."""
    wave = np.full(10 * 8000, 1e-6, np.float32)
    wave[3 * 8000 : int(5.5 * 8000)] = save(tmp_path / "r.wav", 8000)[: int(2.5 * 8000)] * 10
    wave[7 * 8000 :] = 0.1
    soundfile.write(tmp_path / "r.wav", wave, 8000, "FLOAT")
    folder = write_dir(tmp_path / "data", tmp_path / "r.wav")
    data, report = helpers.dump_of(folder, tmp_path / "dump", LENIENT)
    assert data.ids == ["s-2", "s-3", "s-4"]
    assert kinds(report) == {
        ("left out", "empty audio", "s-1"),
        ("fixed", "clipped", "s-2"),
        ("fixed", "segment reaches beyond the end", "s-4"),
    }
    assert helpers.dump_of(folder, tmp_path / "dump", LENIENT) == (data, report)
