"""Readers of the corpora that SUPERB judges by, each on a fabricated tree of its layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechlm.data.fluent_commands import read_fluent_commands
from speechlm.data.iemocap import read_iemocap
from speechlm.data.libri2mix import parse_turns, read_libri2mix, read_rttm
from speechlm.data.quesst import _truth, read_quesst
from speechlm.data.snips import read_snips
from speechlm.data.speech_commands import read_speech_commands, set_of
from speechlm.data.task_data import TaskData, Trial
from speechlm.data.voxceleb import draw_trials, read_speakers, read_verification


def wav(path: Path, samples: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800) if samples is None else samples, 16000)


def by_set(task: TaskData) -> dict[str, dict[str, str]]:
    """{set: {utterance: label}}."""
    found: dict[str, dict[str, str]] = {}
    for utterance, group in task.sets.items():
        found.setdefault(group, {})[utterance] = task.labels[utterance]
    return found


def problems(report) -> dict[str, int]:
    return {kind: n for (_, kind), n in report.counts().items()}


def test_speech_commands(tmp_path):
    root, test = tmp_path / "speech_commands_v0.01", tmp_path / "speech_commands_test_set_v0.01"
    # The hash of the corpus's README gives these speakers to training, validation and its own test.
    speakers = {name: set_of(name) for name in map(str, range(60))}
    chosen = {
        group: next(s for s, g in speakers.items() if g == group) for group in speakers.values()
    }
    for speaker in chosen.values():
        wav(root / "yes" / f"{speaker}_nohash_0.wav")
        wav(root / "marvin" / f"{speaker}_nohash_0.wav")
    wav(root / "_background_noise_" / "pink_noise.wav")
    wav(test / "_silence_" / "0.wav")
    wav(test / "go" / "0a_nohash_1.wav")
    wav(test / "goo" / "0a_nohash_1.wav")
    task, report = read_speech_commands(tmp_path)
    train, dev = chosen["train"], chosen["dev"]
    assert by_set(task) == {
        "train": {
            f"{train}-yes-{train}_nohash_0": "yes",
            f"{train}-marvin-{train}_nohash_0": "_unknown_",
            "noise-pink_noise": "_silence_",
        },
        "dev": {f"{dev}-yes-{dev}_nohash_0": "yes", f"{dev}-marvin-{dev}_nohash_0": "_unknown_"},
        "test": {"0-test-_silence_-0": "_silence_", "0a-test-go-0a_nohash_1": "go"},
    }
    assert problems(report) == {"unknown class": 1}


def test_hash_of_speech_commands_is_that_of_the_corpus():
    # The first lines of validation_list.txt and testing_list.txt, which come with the corpus.
    assert (set_of("026290a7"), set_of("0c40e715")) == ("dev", "test")
    shares = [set_of(f"{n:08x}") for n in range(3000)]
    assert 0.08 < shares.count("dev") / 3000 < 0.12
    assert 0.08 < shares.count("test") / 3000 < 0.12


def test_fluent_commands(tmp_path):
    head = ",path,speakerId,transcription,action,object,location\n"
    row = '0,wavs/speakers/s1/{}.wav,s1,"Turn it up, please",increase,{},{}\n'
    (tmp_path / "data").mkdir()
    for name in ("train", "valid", "test"):
        text = (
            head + row.format(name, "bedroom lights", "none") + row.format("gone", "heat", "none")
        )
        (tmp_path / "data" / f"{name}_data.csv").write_text(text + row.format("x", "", "none"))
        wav(tmp_path / "wavs/speakers/s1" / f"{name}.wav")
    task, report = read_fluent_commands(tmp_path)
    assert by_set(task) == {
        "train": {"s1-train": "increase bedroom_lights none"},
        "dev": {"s1-valid": "increase bedroom_lights none"},
        "test": {"s1-test": "increase bedroom_lights none"},
    }
    assert problems(report) == {"no audio file": 3, "empty field": 3}
    (tmp_path / "data/test_data.csv").write_text("path,action\n")
    with pytest.raises(ValueError, match="test_data.csv: a column speakerId, object, location"):
        read_fluent_commands(tmp_path)
    (tmp_path / "data/test_data.csv").unlink()
    with pytest.raises(ValueError, match="test_data.csv expected"):
        read_fluent_commands(tmp_path)


@pytest.fixture
def voxceleb(tmp_path) -> Path:
    lines = []
    for speaker in ("id10001", "id10002", "id10270"):
        half = "test" if speaker == "id10270" else "dev"
        for video, code in (("aa", 1), ("bb", 2), ("cc", 3)):
            for n in (1, 2):
                name = f"{speaker}/{video}/0000{n}.wav"
                wav(tmp_path / half / "wav" / name)
                lines.append(f"{code} {name}\n")
    (tmp_path / "iden_split.txt").write_text("".join(lines) + "1 id10001/zz/00001.wav\n")
    (tmp_path / "veri_test2.txt").write_text(
        "1 id10270/aa/00001.wav id10270/bb/00001.wav\n0 id10270/aa/00001.wav id10270/cc/00002.wav\n"
    )
    return tmp_path


def test_voxceleb_identification(voxceleb):
    task, report = read_speakers(voxceleb)
    found = by_set(task)
    assert {group: len(labels) for group, labels in found.items()} == dict.fromkeys(
        ("train", "dev", "test"), 6
    )
    assert found["dev"]["id10270-bb-00001"] == "id10270"
    assert problems(report) == {"no audio file": 1}


def test_voxceleb_verification(voxceleb):
    task, _ = read_verification(voxceleb)
    found = by_set(task)
    assert set(found["train"].values()) == {"id10001", "id10002"}
    assert set(found["test"]) == {"id10270-aa-00001", "id10270-bb-00001", "id10270-cc-00002"}
    assert task.trials_of("test") == [
        Trial(True, "id10270-aa-00001", "id10270-bb-00001"),
        Trial(False, "id10270-aa-00001", "id10270-cc-00002"),
    ]
    drawn = task.trials_of("dev")
    assert all(("bb" in t.first) and ("bb" in t.second) for t in drawn)
    assert all(t.same == (t.first[:7] == t.second[:7]) for t in drawn)
    (voxceleb / "veri_test2.txt").write_text("2 a b\n")
    with pytest.raises(ValueError, match="veri_test2.txt:1: `1 FIRST SECOND`"):
        read_verification(voxceleb)
    (voxceleb / "veri_test2.txt").unlink()
    with pytest.raises(ValueError, match="a list of trials expected"):
        read_verification(voxceleb)


def test_drawn_trials_are_balanced_and_none_is_there_twice():
    speakers = {f"{who}-{n}": who for who in "abc" for n in range(6)}
    trials = draw_trials(list(speakers), speakers)
    assert len(set(trials)) == len(trials) > 20
    assert sum(t.same for t in trials) * 2 == len(trials)
    assert draw_trials(["a-1", "a-2"], speakers) == []


def test_quesst(tmp_path):
    lists = {
        "utterances": ["Audio/d1", "Audio/d2", "Audio/d3"],
        "dev": ["dev_queries/q1", "dev_queries/q2"],
        "eval": ["eval_queries/q3"],
    }
    (tmp_path / "scoring").mkdir()
    for name, paths in lists.items():
        lines = [f"quesst14Database/{p}.wav nnenglish\n" for p in paths]
        lines.append("quesst14Database/Audio/x.wav albanian\n")
        (tmp_path / "scoring" / f"language_key_{name}.lst").write_text("".join(lines))
        for path in paths:
            wav(tmp_path / f"{path}.wav")
    for name, truth in {"dev": [("d1", "q1"), ("d3", "q1")], "eval": [("d2", "q3")]}.items():
        folder = tmp_path / "scoring" / f"groundtruth_quesst14_{name}"
        folder.mkdir()
        lines = [f"LEXEME {d} 1 0.0 5.0 {q} lex <NA> <NA>\n" for d, q in truth]
        (folder / f"quesst14_{name}.rttm").write_text("".join(lines))
    task, report = read_quesst(tmp_path)
    assert by_set(task) == {
        "doc": {"doc-d1": "-", "doc-d2": "-", "doc-d3": "-"},
        "dev": {"query-q1": "doc-d1 doc-d3", "query-q2": "-"},
        "test": {"query-q3": "doc-d2"},
    }
    assert problems(report) == {"query in no document": 1}
    (tmp_path / "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm").unlink()
    with pytest.raises(ValueError, match=r"rttm expected, but there is none"):
        read_quesst(tmp_path)


def test_snips(tmp_path):
    lines = []
    for speaker, group in (("Ivy", "train"), ("Amy", "valid"), ("Emma", "test"), ("Amy", "test")):
        lines.append(
            f"{speaker}-snips-{group}-0 BOS PLAY JAZZ & SOUL , NOW EOS"
            "\tO O genre genre genre O O PlayMusic\n"
        )
        wav(tmp_path / group / f"{speaker}-snips-{group}-0.wav")
    wav(tmp_path / "train" / "Ivy-snips-train-9.wav")
    (tmp_path / "all.iob.snips.txt").write_text("".join(lines) + "Ivy-snips-train-1 BOS A EOS\tO\n")
    task, report = read_snips(tmp_path)
    label = "PLAY|O JAZZ|genre AND|genre SOUL|genre NOW|O"
    assert by_set(task) == {
        "train": {"Ivy-snips-train-0": label},
        "dev": {"Amy-snips-valid-0": label},
        "test": {"Emma-snips-test-0": label},
    }
    assert problems(report) == {
        "no sentence": 1,
        "speaker of another set": 1,
        "words and slots differ": 1,
    }


def test_libri2mix(tmp_path):
    names = {part: f"1-2-000{n}_4-5-0006" for n, part in enumerate(("train-100", "dev", "test"))}
    name = names["dev"]
    loud = 0.1 * np.sin(np.arange(16000))
    silence = np.zeros(16000)
    sources = {
        "mix_both": np.zeros(48000),
        "s1": np.concatenate([loud, silence, silence]),
        "s2": np.concatenate([silence, loud, silence]),
    }
    for part, recording in names.items():
        for folder, samples in sources.items():
            wav(tmp_path / "wav16k/max" / part / folder / f"{recording}.wav", samples)
    (tmp_path / "rttm").mkdir()
    (tmp_path / "rttm" / "dev.rttm").write_text(
        f"SPEAKER {name} 1 0.25 1.00 <NA> <NA> 1 <NA> <NA>\n"
        f"SPEAKER {name} 1 1.00 0.50 <NA> <NA> 4 <NA> <NA>\n"
    )
    task, report = read_libri2mix(tmp_path)
    found = by_set(task)
    assert found["dev"] == {f"{name}-mix": "1:0.250:1.250 4:1.000:1.500"}
    turns = parse_turns(found["test"][f"{names['test']}-mix"])
    assert [who for who, _, _ in turns] == ["1", "4"]
    assert np.allclose([(a, b) for _, a, b in turns], [(0, 1), (1, 2)], atol=0.02)
    assert problems(report) == {"turns by energy": 2}
    (tmp_path / "wav16k/max/test/s2" / f"{names['test']}.wav").unlink()
    task, report = read_libri2mix(tmp_path)
    assert "test" not in by_set(task) and problems(report)["no turns"] == 1
    (tmp_path / "rttm" / "dev.rttm").write_text(f"SPEAKER {name} 1 0.25 x <NA> <NA> 1\n")
    with pytest.raises(ValueError, match=r"dev.rttm:1: `SPEAKER RECORDING"):
        read_libri2mix(tmp_path)


def test_iemocap(tmp_path):
    for n in range(1, 6):
        dialog = f"Ses0{n}F_impro01"
        lines = []
        for i, emotion in enumerate(("exc", "neu", "fru")):
            name = f"{dialog}_{'FM'[i % 2]}00{i}"
            lines.append(
                f"[6.2901 - 8.2357]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]\nC-E2:\tNeutral;\t()\n"
            )
            wav(tmp_path / f"Session{n}/sentences/wav" / dialog / f"{name}.wav")
        table = tmp_path / f"Session{n}/dialog/EmoEvaluation" / f"{dialog}.txt"
        table.parent.mkdir(parents=True)
        table.write_text(
            "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(lines)
        )
    task, report = read_iemocap(tmp_path)
    assert by_set(task)["3"] == {
        "Ses03F-Ses03F_impro01_F000": "happy",
        "Ses03M-Ses03F_impro01_M001": "neutral",
    }
    assert sorted(by_set(task)) == ["1", "2", "3", "4", "5"]
    assert problems(report) == {"another emotion": 5}


def test_a_missing_part_is_named(tmp_path):
    (tmp_path / "Session1").mkdir()
    with pytest.raises(ValueError, match="no part Session2"):
        read_iemocap(tmp_path)
    with pytest.raises(ValueError, match="no part speech_commands_v0.01"):
        read_speech_commands(tmp_path)


def test_task_data_comes_back_as_it_was(voxceleb, tmp_path):
    task, _ = read_verification(voxceleb)
    task.write(tmp_path / "asv")
    assert TaskData.read(tmp_path / "asv") == task
    (tmp_path / "asv" / "labels").write_text("id10001-aa-00001 id10001\n")
    with pytest.raises(ValueError, match="wav.scp and labels have different ids: id10001-aa-00002"):
        TaskData.read(tmp_path / "asv")


def test_a_set_without_utterances_is_named(voxceleb):
    task, _ = read_verification(voxceleb)
    with pytest.raises(
        ValueError, match="the set 'doc' expected; there are those of dev test train"
    ):
        task.members("doc")
    with pytest.raises(ValueError, match="trials of the set 'train' expected"):
        task.trials_of("train")


@pytest.mark.parametrize(
    "line",
    [
        "SPEAKER mix 1 0.5 -0.2 <NA> <NA> A",
        "SPEAKER mix 1 nan 1.0 <NA> <NA> A",
        "SPEAKER mix 1 -1.0 2.0 <NA> <NA> A",
        "SPEAKER mix 1 0.0 inf <NA> <NA> A",
    ],
)
def test_turns_of_impossible_times_are_refused(line, tmp_path):
    (tmp_path / "x.rttm").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"x.rttm:1: `SPEAKER RECORDING 1 START SECONDS"):
        read_rttm(tmp_path / "x.rttm")


def test_tables_that_are_no_utf8_text_are_named(voxceleb, tmp_path):
    """Whichever reader: the message has the file and its line."""
    damaged = "1 SPEAKER é\n".encode("latin-1")
    (tmp_path / "data").mkdir()
    (tmp_path / "x.rttm").write_bytes(damaged)
    (tmp_path / "veri_test2.txt").write_bytes(damaged)
    (tmp_path / "data" / "train_data.csv").write_bytes(damaged)
    for read, name in (
        (lambda: read_rttm(tmp_path / "x.rttm"), "x.rttm"),
        (lambda: read_verification(tmp_path), "veri_test2.txt"),
        (lambda: read_fluent_commands(tmp_path), "train_data.csv"),
        (lambda: _truth(tmp_path), "x.rttm"),
    ):
        with pytest.raises(ValueError, match=rf"{name}.*UTF-8"):
            read()


def test_a_table_whose_quotes_do_not_end_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    head = "path,speakerId,action,object,location\n"
    (tmp_path / "data" / "train_data.csv").write_text(head + '"a\n' + 200_000 * "b")
    with pytest.raises(ValueError, match=r"train_data.csv:\d: no line of a table: field larger"):
        read_fluent_commands(tmp_path)
