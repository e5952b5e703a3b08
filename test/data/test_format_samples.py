"""Stage 2 judges the samples that are written, and utt2num_samples is what reads back."""

import struct

import numpy as np
import pytest
import soundfile

from speechlm.data.audio import read_audio
from speechlm.data.format_options import FormatOptions
from speechlm.data.kaldi_dir import DataDir

RATE = 16000


@pytest.fixture
def formatted(tmp_path, helpers):
    """Kept data and report of a corpus of the given files beside a good one.

    Files are arrays, with their rate, or whole contents.
    """

    def run(files, rate=RATE, **options):
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / "s-good.wav", helpers.tone(), RATE)
        paths = {"s-good": str(folder / "s-good.wav")}
        for name, sound in files.items():
            path = folder / name
            if isinstance(sound, bytes):
                path.write_bytes(sound)
            else:
                soundfile.write(path, sound, rate, format="WAV", subtype="FLOAT")
            paths[f"s-{name}"] = str(path)
        DataDir(paths, dict.fromkeys(paths, "s")).write(tmp_path / "data")
        wanted = FormatOptions(max_bad_share=1.0, **options)
        data, report = helpers.dump_of(tmp_path / "data", tmp_path / "dump", wanted)
        for utterance in data.ids:
            waveform = read_audio(data.wav[utterance])
            assert len(waveform) == data.n_samples[utterance]
            assert waveform.any()
        return data, report

    return run


def kinds(report):
    return {item.utterance: (item.what, item.kind) for item in report.items}


def details(report):
    return {item.utterance: item.detail for item in report.items}


def test_channels_that_cancel_each_other(formatted, helpers):
    left = helpers.tone()
    nearly = np.stack([left, -left + np.float32(1e-6)], 1)
    files = {
        "opposite": np.stack([left, -left], 1),
        "nearly": nearly,
        "same": np.stack([left] * 2, 1),
    }
    data, report = formatted(files, mix_channels=True)
    assert data.ids == ["s-good", "s-same"]
    assert kinds(report) == dict.fromkeys(["s-opposite", "s-nearly"], ("left out", "empty audio"))
    assert "once the channels are mixed" in details(report)["s-opposite"]
    assert "after rounding to 16 bits" in details(report)["s-nearly"]


def test_signals_that_round_to_zero(formatted, helpers):
    tone = helpers.tone()
    tone /= np.abs(tone).max()
    files = {f"{power}": tone * 10.0**-power for power in (4, 5, 6, 30, 44)}
    data, report = formatted(files)
    assert data.ids == ["s-4", "s-good"]
    assert set(kinds(report).values()) == {("left out", "empty audio")}
    assert set(kinds(report)) == {"s-5", "s-6", "s-30", "s-44"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_value_that_is_no_number_in_one_channel(formatted, helpers, bad, rate):
    stereo = np.stack([helpers.tone(1, rate), helpers.tone(1, rate, 2)], 1)
    first, second = stereo.copy(), stereo.copy()
    first[700, 0], second[-1, 1] = bad, bad
    both = stereo.copy()
    both[700] = [np.inf, -np.inf]
    data, report = formatted({"1": first, "2": second, "both": both}, rate, mix_channels=True)
    assert data.ids == ["s-good"]
    assert set(kinds(report).values()) == {("left out", "unreadable audio")}
    assert all("not finite" in detail for detail in details(report).values())


def test_numbers_that_overflow_on_the_way(formatted, helpers):
    huge = np.where(helpers.tone(1, 48000) > 0, 3e38, -3e38).astype(np.float32)
    data, report = formatted({"huge": np.stack([huge, huge], 1)}, 48000, mix_channels=True)
    assert data.ids == ["s-good"]
    assert kinds(report) == {"s-huge": ("left out", "unreadable audio")}


def test_clipping_is_reported_also_when_a_run_is_repeated(formatted, helpers):
    tone = helpers.tone()
    few = tone.copy()
    few[:10] = 1.5
    files = {"few": few, "many": tone * 20, "integers": tone * 32768}
    for _ in range(2):
        data, report = formatted(files)
        assert data.ids == ["s-few", "s-good", "s-integers", "s-many"]
        assert kinds(report) == dict.fromkeys(["s-integers", "s-many"], ("fixed", "clipped"))
        n = np.count_nonzero(np.abs(files["many"]) > 1)
        assert details(report)["s-many"] == f"{n} of 16000 samples were beyond full scale"
        np.testing.assert_allclose(
            read_audio(data.wav["s-many"]), np.clip(tone * 20, -1, 1), atol=1e-4
        )


def test_resampling_that_leaves_less_than_a_window(formatted, helpers):
    files = {str(n): helpers.tone(n / 48000, 48000) for n in (1, 2, 600, 1190, 1260)}
    data, report = formatted(files, 48000)
    assert data.ids == ["s-1260", "s-good"]
    assert data.n_samples["s-1260"] == 420
    assert all(kinds(report)[f"s-{n}"] == ("filtered", "too short") for n in (600, 1190))
    assert kinds(report).keys() == {f"s-{n}" for n in (1, 2, 600, 1190)}


@pytest.mark.parametrize("quick", [False, True])
def test_wrong_lengths_are_put_right_and_reported(formatted, tmp_path, helpers, quick):
    def made(form):
        path = tmp_path / "made"
        soundfile.write(path, helpers.tone(3), RATE, format=form)
        return path.read_bytes()

    flac, wav, mp3, ogg = map(made, ("FLAC", "WAV", "MP3", "OGG"))
    short = flac[:22] + struct.pack(">I", 20000) + flac[26:]
    unknown = flac[:22] + bytes(4) + flac[26:]
    piped = wav[:40] + struct.pack("<I", 0x7FFFF000) + wav[44:]
    at = max(mp3.find(b"Info"), mp3.find(b"Xing")) + 8
    half = mp3[:at] + struct.pack(">I", 20) + mp3[at + 4 :]
    files = {"whole": flac, "short": short, "unknown": unknown, "wav": piped, "mp3": half}
    files |= {"ogg": ogg + ogg, "flacs": flac + flac, "cut": flac[:-100], "mp3s": mp3 + mp3}
    for _ in range(2):
        data, report = formatted(files, quick=quick)
        twice = ("s-ogg", "s-flacs", "s-mp3s")
        lengths = {f"s-{n}": 48000 for n in files} | dict.fromkeys(twice, 96000)
        del lengths["s-cut"]
        assert data.n_samples == lengths | {"s-good": 16000}
        wrong = dict.fromkeys(["s-short", "s-mp3", *twice], ("fixed", "wrong length in the header"))
        assert kinds(report) == wrong | {"s-cut": ("left out", "truncated audio")}
        assert details(report)["s-short"] == "its header promises 20000 samples, found 48000"
        assert data.wav["s-whole"].endswith("corpus/whole")
        np.testing.assert_array_equal(
            read_audio(data.wav["s-short"]), read_audio(data.wav["s-whole"])
        )


def test_what_was_converted_by_older_rules_is_made_again(formatted, tmp_path, helpers):
    data, _ = formatted({"a": helpers.tone()})
    note = tmp_path / "dump" / ".conversion"
    rules, _, rest = note.read_text().partition(", ")
    assert rules.startswith("rules ")
    note.write_text(rest)
    soundfile.write(data.wav["s-a"], helpers.tone(0.5), RATE)
    data, _ = formatted({"a": helpers.tone()})
    assert data.n_samples["s-a"] == 16000
