"""The program `transcribe`: files and folders of all kinds, formats, jobs, faults."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from speechlm.checkpoints.model_dir import Description, save_model
from speechlm.data.audio import decode_any, resample
from speechlm.data.audio_stream import stream_mono
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_search import Entry, Weights
from speechlm.decode.transcribe import CTC, TUNED, tuned_weights
from speechlm.decode.word_times import greedy_words, letters_of_words, likely_words
from speechlm.models import SpeechLMConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model_values):
    """A model of random weights that writes letters and blanks."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("ctc") / "model"
    description = Description(
        SpeechLMConfig.base(**model_values()), "ctc", characters=CharacterVocabulary.symbols
    )
    weights = description.build().state_dict()
    weights["unit_encoder_ctc_head.5.weight"] *= 20
    save_model(path, description, weights, imported_from="a test")
    return path


def noise(seconds, rate=16000, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal((int(seconds * rate), channels)).astype(np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with sound and faulty files; two of one base name, and names with blanks."""
    path = tmp_path_factory.mktemp("recordings")
    for name in ("a", "b/deep"):
        (path / name).mkdir(parents=True)
    soundfile.write(path / "a" / "same.wav", noise(1), 16000)
    soundfile.write(path / "b" / "same.flac", noise(2, 22050, 2, 1), 22050)
    soundfile.write(path / "b" / "deep" / "ünter the sea.ogg", noise(1, 8000, 1, 2), 8000)
    soundfile.write(path / "b" / "long.wav", noise(40, seed=3), 16000)
    soundfile.write(path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(path / "short.wav", noise(0.02), 16000)
    (path / "empty.wav").touch()
    (path / "text.wav").write_text("no audio\n" * 99)
    (path / "cut.flac").write_bytes((path / "b" / "same.flac").read_bytes()[:9000])
    (path / "phone.m4a").write_bytes(b"\0" * 99)
    (path / "notes.txt").write_text("hello\n")
    return path


FAULTS = {
    "silent.wav": "empty audio",
    "short.wav": "too short",
    "empty.wav": "empty audio",
    "text.wav": "unreadable audio",
    "cut.flac": "truncated audio",
    "phone.m4a": "other audio format",
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_goes_on_after_faulty_files(folder, recordings, tmp_path, root, jobs):
    output = tmp_path / "out"
    output.mkdir()
    (output / "silent.json").write_text("of an earlier run, when it had sound")
    options = ("--model", folder, "--format", "json", "--output", output, "--nj", str(jobs))
    done = subprocess.run(
        [sys.executable, "-m", "speechlm.bin.transcribe", *options, recordings],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == "", done.stderr
    assert "error: 6 recordings have no transcript" in done.stderr
    names = sorted(file.name for file in output.iterdir())
    assert len(names) == 5 and "report.tsv" in names and "long.json" in names
    assert sum("same" in name for name in names) == 2 and not any(" " in name for name in names)
    report = (output / "report.tsv").read_text()
    for name, kind in FAULTS.items():
        assert any(f"\t{kind}\t" in line and name in line for line in report.split("\n")), name
    model = CTC.from_pretrained(folder)
    for file in output.glob("*.json"):
        values = json.loads(file.read_text())
        (expected,) = model.transcribe([values["file"]])
        assert values["text"] == expected.text != ""
        assert values["text"] == " ".join(word["word"] for word in values["words"])
        ends = [word["end"] for word in values["words"]]
        assert ends == sorted(ends) and ends[-1] <= values["duration"]
        assert all(0 < word["confidence"] <= 1 for word in values["words"])
        assert all(word["start"] < word["end"] for word in values["words"])


def test_ctm_has_six_fields(folder, recordings, run_main):
    done = run_main("transcribe", "--model", folder, "--format", "ctm", recordings / "b")
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert {len(line) for line in lines} == {6}
    assert len({line[0] for line in lines}) == 3
    for _, channel, start, duration, _, confidence in lines:
        assert channel == "1" and float(start) >= 0 and float(duration) > 0
        assert 0 < float(confidence) <= 1


def test_the_stream_is_the_whole_file(recordings):
    for name in ("a/same.wav", "b/same.flac", "b/deep/ünter the sea.ogg"):
        wave, rate = decode_any(recordings / name, mix_channels=True)
        streamed = np.concatenate(list(stream_mono(recordings / name)))
        np.testing.assert_allclose(streamed, resample(wave, rate, 16000), atol=1e-6)


def test_an_empty_folder_and_a_single_file_in_python_are_explained(folder, tmp_path, run_main):
    done = run_main("transcribe", "--model", folder, tmp_path)
    assert done.returncode == 1 and "no recordings in" in done.stderr
    with pytest.raises(ValueError, match="a list of files and waveforms expected"):
        CTC.from_pretrained(folder).transcribe("hello.wav")


def test_weights_of_another_search_are_not_used(tmp_path, caplog):
    assert tuned_weights(tmp_path, "graph") is None and "is not there" in caplog.text
    path = tmp_path / TUNED
    path.parent.mkdir()
    values = {"lm_weight": 3.0, "word_score": 0.0, "blank_score": 1.0}
    path.write_text(json.dumps(values | {"search": "flashlight", "beam": {}}))
    assert tuned_weights(tmp_path, "flashlight") == path
    assert tuned_weights(tmp_path, "graph") is None
    assert "was tuned with --search flashlight, and this is graph: the paper's" in caplog.text


def test_times_and_confidences_of_greedy_words():
    blank, end = CharacterVocabulary.blank, CharacterVocabulary.word_end
    e, t = CharacterVocabulary().encode("ET")[:2]
    labels = np.array([blank, e, e, blank, t, end, end, blank, t, blank, t, blank])
    rows = np.full((len(labels), CharacterVocabulary.n_ids), 0.5 / 32)
    rows[np.arange(len(labels)), labels] = 0.5
    first, second = greedy_words(np.log(rows))
    assert (first.word, first.span) == ("ET", (1, 5)) and (second.word, second.span) == (
        "TT",
        (8, 11),
    )
    assert first.confidence == pytest.approx(0.5)
    columns = np.where(labels == end, CharacterVocabulary.n_ids, labels)
    assert len(letters_of_words(columns)) == 2


def test_confidence_is_the_posterior_of_a_word_at_its_time():
    """Two sentences share their first word; the second one has an equal word at another time."""
    blank, mark = CharacterVocabulary.blank, CharacterVocabulary.n_ids
    e, t = CharacterVocabulary().encode("ET")[:2]
    first = np.array([e, mark, blank, t, mark, blank, blank])
    second = np.array([e, mark, blank, blank, blank, t, mark])
    weights = Weights(lm_weight=np.log(10), word_score=0.0)  # objective in nats
    entries = [Entry(("E", "T"), -1.0, 0.0, first), Entry(("E", "T"), -2.0, 0.0, second)]
    found = likely_words(entries, weights)
    assert [word.span for word in found] == [(0, 1), (3, 4)]
    assert found[0].confidence == pytest.approx(1.0)
    assert found[1].confidence == pytest.approx(1 / (1 + np.exp(-1)))
    assert likely_words([], weights) == []
    cut_off = Entry(("E", "T"), 0.0, 0.0, np.array([e, mark, blank]))
    assert [word.span for word in likely_words([cut_off], weights)] == [(0, 1), (2, 3)]
