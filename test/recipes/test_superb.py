"""egs/superb: what it refuses, what it would run, and its corpora through their readers."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from speechlm.data.libri2mix import parse_turns
from speechlm.superb.corpora import CORPORA, read_task

TASKS = [task for task in CORPORA if task != "er"]


@pytest.fixture(scope="module")
def recipe(copy_recipe, tmp_path_factory):
    """A copy of the recipe, and in it a folder `model`."""
    folder = copy_recipe(tmp_path_factory.mktemp("superb"), "superb")
    (folder / "model").mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "ks xx"], "--tasks has 'xx'; it can have pr, asr, ks"),
        (["--tasks", ""], "--tasks names none"),
        (["--tasks", "er"], "er, which no synthesizer makes: --corpora er=FOLDER"),
        (["--models", "model"], "--models has 'model'; NAME=FOLDER is expected"),
        (["--models", "a/b=model"], "--models has 'a/b=model'"),
        (["--models", "a=model a=model"], "have two called 'a'"),
        (["--models", "fbank=model"], "have two called 'fbank'"),
        (["--baselines", "noise"], "--baselines has 'noise'"),
        (["--corpora", "yy=model"], "--corpora has 'yy=model'; TASK=FOLDER is expected"),
        (["--config", "gone.yaml"], "--config is 'gone.yaml', which is no file"),
        (["--corpora", "ks=model pr=model ks=data"], "--corpora has two folders of ks"),
        (["--tasks", "ks pr ks"], "--tasks 'ks pr ks' names one twice"),
        (["--seeds", "0"], "--seeds, --train_jobs"),
        (["--ngpu", "2"], "--ngpu is 2; a task and a model take 0 or 1"),
        (["--stage", "15"], "--stage is 15; stages are 1 to 14"),
        (["--stage", "3", "--stop_stage", "2"], "--stop_stage is 2; it can be 3 (--stage) to 14"),
    ],
)
def test_wrong_options_are_named(recipe, run_sh, words, message):
    result = run_sh(recipe, "--dry_run", *words)
    assert result.returncode == 1 and message in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--models has 'speech=../mini/exp/pretrain_speech', but no model is there; egs/mini/"),
        (["--models", "a=me/b", "--corpus", "gone"], "'gone/speech_commands' is not there"),
        (["--models", "a=me/b", "--corpora", "ks=gone"], "'gone' is not there, the corpus of ks"),
    ],
)
def test_what_is_not_there_is_named_before_anything_is_made(recipe, run_sh, words, message):
    words = ["--tasks", "ks", "--baselines", "fbank", *words]
    result = run_sh(recipe, *words)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"error: {message}")


def test_a_dry_run_warns_of_what_is_not_there(recipe, run_sh):
    words = ["--tasks", "ks", "--baselines", "", "--models", "a=./gone", "--corpus", "gone"]
    last = run_sh(recipe, *words, "--dry_run", "--stage", "11", "--stop_stage", "11")
    assert last.stderr.startswith("warning: --models has 'a=./gone', but no model is there\n")
    assert last.returncode == 0
    first = run_sh(recipe, *words, "--dry_run", "--stop_stage", "1")
    said = "warning: 'gone/speech_commands' is not there, the corpus of ks\n"
    assert first.stderr.startswith(said)


def test_dry_run(recipe, run_sh):
    result = run_sh(recipe, "--models", "a=model hub=me/hubert", "--tasks", "pr qbe", "--dry_run")
    assert result.returncode == 0, result.stderr
    text = result.stderr
    assert text.count("superb_judge") == text.count("superb_features") == 2 * 5
    assert "--upstream random:model" in text and "--upstream me/hubert" in text
    assert text.count("make_superb.py") == 1 and "--seeds 1 2 3" in text
    own = run_sh(
        recipe,
        "--models",
        "a=model",
        "--baselines",
        "",
        "--corpus",
        "model",
        "--dry_run",
        "--corpora",
        "ks=model er=model",
        "--tasks",
        "ks er pr",
        "--on_the_fly",
        "--config",
        "",
    )
    assert own.returncode == 0, own.stderr
    assert "make_superb" not in own.stderr and "superb_features" not in own.stderr
    assert "--task pr --corpus model/LibriSpeech" in own.stderr
    assert "--task er --corpus model " in own.stderr
    assert "--config" not in own.stderr and own.stderr.count("--upstream model") == 3


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("../gone/model", "no model is there"),
        ("model/gone", "no model is there"),
        ("model", "a folder with config.yaml (ours) or config.json (Hugging Face) is expected"),
        ("run.sh", "but a file; the folder of a model is expected"),
        ("../mini/exp/gone", "egs/mini/run.sh makes it"),
    ],
)
def test_a_missing_model_is_named_before_anything_is_made(recipe, run_sh, place, message):
    result = run_sh(recipe, "--models", f"a={place}", "--tasks", "ks")
    assert result.returncode == 1 and f"--models has 'a={place}'" in result.stderr
    assert message in result.stderr and "stage 1" not in result.stderr
    planned = run_sh(recipe, "--models", f"a={place}", "--tasks", "ks", "--dry_run")
    assert planned.returncode == 0 and f"warning: --models has 'a={place}'" in planned.stderr


@pytest.fixture(scope="module")
def corpora(root, tmp_path_factory):
    """The corpora that the recipe makes, a twentieth of their size."""
    folder = tmp_path_factory.mktemp("made") / "corpora"
    program = str(root / "egs" / "superb" / "local" / "make_superb.py")
    command = [sys.executable, program, "--output", str(folder), "--scale", "0.05", "--nj", "2"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"})
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_made_corpora_are_read_whole(corpora, task):
    data, report = read_task(task, str(corpora / CORPORA[task].folder))
    assert report.ids_left_out() == set()
    groups = {"doc", "dev", "test"} if task == "qbe" else {"train", "dev", "test"}
    assert {*data.sets.values()} == groups
    if task == "asv":
        assert all(data.trials_of(group) for group in ("dev", "test"))
    if task not in ("sid", "qbe", "asv"):
        voices = {g: {data.data.utt2spk[u] for u in data.members(g)} for g in groups}
        assert not voices["train"] & voices["test"]


def test_turns_of_mixtures_are_where_their_sources_are_heard(corpora):
    data, _ = read_task("sd", str(corpora / "Libri2Mix"))
    for utterance, path in data.data.wav.items():
        mixture, rate = soundfile.read(path)
        turns = parse_turns(data.labels[utterance])
        assert len({who for who, _, _ in turns}) == 2
        silent = np.ones(len(mixture), bool)
        for _, start, end in turns:
            assert 0 <= start < end <= len(mixture) / rate + 0.01
            silent[int(start * rate) : int(end * rate)] = False
        if silent.any():  # what is left is noise alone
            assert np.mean(mixture[silent] ** 2) < np.mean(mixture[~silent] ** 2)
