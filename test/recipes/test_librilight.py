"""egs/librilight: stages 1 and 2 for real on a made-up corpus, the others dry; names of sets."""

import json
import re
import subprocess

import numpy as np
import pytest
import soundfile

from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report

WORDS = ("NORTH", "WIND", "AND", "SUN", "WERE", "TALKING", "ABOUT", "A", "TRAVELER'S", "CLOAK")
PARTS = {"train-clean-100": 2, "train-clean-360": 3, "dev-clean": 1, "test-clean": 1}
SETS = ("--dev_parts", "dev-clean", "--test_parts", "test-clean")
FINETUNE = ("--finetune_parts", "train-clean-100 train-clean-360")


def noise(seconds, seed, loud=0.1):
    return loud * np.random.default_rng(seed).standard_normal(round(16000 * seconds))


@pytest.fixture
def librispeech(tmp_path):
    """Parts of LibriSpeech with a speaker each, and text."""
    root = tmp_path / "Libri Speech"
    for number, (part, n) in enumerate(PARTS.items(), 1):
        folder = root / part / str(number) / "9"
        folder.mkdir(parents=True)
        names = [f"{number}-9-{i:04d}" for i in range(n)]
        for i, name in enumerate(names):
            soundfile.write(folder / f"{name}.flac", noise(1.5, 10 * number + i), 16000)
        lines = (f"{name} {' '.join(WORDS[:4])}\n" for name in names)
        (folder / f"{number}-9.trans.txt").write_text("".join(lines))
    random = np.random.default_rng(0)
    sentences = "".join(" ".join(random.choice(WORDS, 7)) + "\n" for _ in range(60))
    (root / "text.txt").write_text(sentences)
    return root


@pytest.fixture
def librilight(tmp_path):
    """Four recordings of minutes: a good table, a broken JSON, none, and one that is cut off."""
    root = tmp_path / "Libri Light" / "small" / "77" / "a book"
    root.mkdir(parents=True)
    for number, name in enumerate(("good", "broken", "bare", "cut")):
        pieces = [noise(45, number), noise(3, number, 1e-3), noise(72, number + 10)]
        soundfile.write(root / f"{name}.flac", np.concatenate(pieces), 16000)
    table = [[0, 20.5], [21, 45], [48, 58], [58.25, 77], [80, 82], [110, 119], [119.5, 130]]
    (root / "good.json").write_text(json.dumps({"voice_activity": table}))
    (root / "cut.json").write_text(json.dumps({"voice_activity": [[0, 20], [100, 119]]}))
    (root / "broken.json").write_text('{"voice_activity": [[0, 20')
    cut = (root / "cut.flac").read_bytes()
    (root / "cut.flac").write_bytes(cut[: len(cut) // 2])
    return root.parents[2]


def test_stages_1_and_2_of_long_recordings(copy_recipe, run_sh, tmp_path, librispeech, librilight):
    recipe = copy_recipe(tmp_path, "librilight")
    words = ("--corpus", str(librispeech), "--speech_corpus", str(librilight))
    words += ("--text_corpus", str(librispeech / "text.txt"), "--speech_parts", "small")
    words += (*SETS, *FINETUNE, "--nj", "2", "--max_bad_share", "0.4", "--dev_share", "0.1")
    done = run_sh(recipe, *words, "--stop_stage", "2")
    assert done.returncode == 0, done.stderr
    data = DataDir.read(recipe / "dump" / "speech")
    good = {u.rpartition("-")[2]: n for u, n in data.samples().items() if "good" in u}
    assert good == {"000000": 328000, "002100": 384000, "004800": 464000, "008000": 32000} | {
        "011000": 160000
    }
    assert {path.rpartition("/")[2] for path in data.wav.values()} == {
        "good.flac", "broken.flac", "bare.flac"
    }  # fmt: skip
    assert not (recipe / "dump" / "speech" / "audio").exists()
    assert max(data.samples().values()) <= 30 * 16000
    whole = soundfile.read(librilight / "small/77/a book/good.flac", dtype="float32")[0]
    part = data.audio("77-a%20book-good-002100").read()
    np.testing.assert_array_equal(part, whole[21 * 16000 : 45 * 16000])
    report = Report.read(recipe / "dump" / "speech" / "report.tsv")
    counts = report.counts()
    assert counts["left out", "truncated audio"] == 2
    assert counts["fixed", "broken JSON"] == counts["fixed", "no table of voice activity"] == 1
    assert counts["fixed", "voice activity beyond the end"] == 1
    sizes = {s: len(DataDir.read(recipe / "dump" / s)) for s in ("paired", "finetune", "dev")}
    assert sizes == {"paired": 2, "finetune": 5, "dev": 1}
    # nothing is done twice, and what follows would run
    again = run_sh(recipe, *words, "--dry_run")
    assert again.returncode == 0, again.stderr
    assert "data speech: would run" not in again.stderr
    assert "--train_dir dump/finetune --dev_dir dump/dev" in again.stderr
    assert "train_gmm --data_dir dump/paired " in again.stderr


def test_the_papers_sets_of_large(copy_recipe, run_sh, tmp_path):
    recipe = copy_recipe(tmp_path, "librilight")
    shown = run_sh(recipe, "--dry_run", "--speech_corpus", "/corpora/LL", "--corpus", "/corpora/LS")
    assert shown.returncode == 0, shown.stderr
    assert "warning: --speech_corpus is '/corpora/LL', which is not there" in shown.stderr
    prepared = re.findall(
        r"prepare_(\w+) --corpus (\S+) --parts (.*?) --.*--output (\S+)", shown.stderr
    )
    assert ("librispeech", "/corpora/LS", "dev-other", "data/dev") in prepared
    every = "train-clean-100 train-clean-360 train-other-500"
    assert prepared[:4] == [
        ("librispeech", "/corpora/LS", "train-clean-100", "data/paired"),
        ("librispeech", "/corpora/LS", every, "data/finetune"),
        ("librilight", "/corpora/LL", "small medium large", "data/speech"),
        ("librispeech", "/corpora/LS", "dev-other", "data/dev"),  # the best weights on it are kept
    ]
    commands = [line for line in shown.stderr.splitlines() if line.startswith("    ")]
    (pretrain,) = (line for line in commands if "bin.pretrain " in line)
    (finetune,) = (line for line in commands if "bin.finetune_asr " in line)
    assert "conf/pretrain_large.yaml" in pretrain and "--speech_dir dump/speech " in pretrain
    assert "conf/finetune_large_960h.yaml" in finetune and "--train_dir dump/finetune " in finetune
    aligned = [line for line in commands if re.search("train_gmm|bin.align |tune_decoding", line)]
    assert aligned and all("dump/paired" in line for line in aligned)
    assert not any("dump/finetune" in line for line in aligned)


def test_downloads_are_those_of_librispeech(copy_recipe, run_sh, tmp_path):
    recipe = copy_recipe(tmp_path, "librilight")
    words = ("--dry_run", "--stop_stage", "1", "--speech_corpus", str(tmp_path))
    shown = run_sh(recipe, *words).stderr
    parts = re.findall(r"download_librispeech --parts (\S+)", shown)
    assert len(parts) == 6 and not set(parts) & {"small", "medium", "large"}


def test_without_libri_light(copy_recipe, run_sh, tmp_path):
    recipe = copy_recipe(tmp_path, "librilight")
    shown = run_sh(recipe, "--stop_stage", "1")
    assert shown.returncode == 1 and "--speech_corpus, the folder of Libri-Light" in shown.stderr
    shown = run_sh(recipe, "--stage", "11", "--systems", "scratch")
    assert "needs dump/finetune, which is not there; stage 2 makes it" in shown.stderr


def test_processes_are_those_of_the_run(copy_recipe, run_sh, tmp_path):
    recipe = copy_recipe(tmp_path, "librilight")
    words = ("--dry_run", "--stop_stage", "1", f"--speech_corpus={tmp_path}", "--nj", "3")
    (line,) = re.findall(r"prepare_librilight .*", run_sh(recipe, *words).stderr)
    assert " --nj 3 " in line
    own = run_sh(recipe, *words, "--data_opts", "--nj 5").stderr
    assert re.search(r"prepare_librilight .* --nj 5 ", own)


@pytest.mark.parametrize("option", ["--finetune_parts", "--speech_corpus"])
def test_sets_that_a_recipe_does_not_have(copy_recipe, run_sh, tmp_path, option):
    recipe = copy_recipe(tmp_path, "mini")
    shown = run_sh(recipe, "--dry_run", option, str(tmp_path))
    assert shown.returncode == 1
    assert f"error: {option} is not for mini: its local/data.sh has no such" in shown.stderr


def test_data_sh_takes_the_corpus_in_both_forms(copy_recipe, tmp_path):
    recipe = copy_recipe(tmp_path, "librilight")
    for words in (["--speech_corpus", "LL"], ["--speech_corpus=LL"]):
        command = [recipe / "local" / "data.sh", *words, "--dry_run"]
        shown = subprocess.run(command, cwd=recipe, capture_output=True, text=True, timeout=60)
        assert "--corpus LL" in shown.stderr and "is needed" not in shown.stderr


def test_base_is_fine_tuned_on_the_paired_set(copy_recipe, run_sh, tmp_path):
    recipe = copy_recipe(tmp_path, "librispeech")
    shown = run_sh(recipe, "--dry_run").stderr
    assert "finetune " not in shown.replace("finetune_asr", "").replace("fine-tune", "")
    assert "--train_dir dump/paired --dev_dir dump/dev" in shown
    same = run_sh(recipe, "--dry_run", "--finetune_parts", "train-clean-100").stderr
    assert "data/finetune" not in same and "--train_dir dump/paired " in same
    other = run_sh(recipe, "--dry_run", "--finetune_parts", "train-clean-360").stderr
    assert "--parts train-clean-360 --max_bad_share 0.1 --output data/finetune" in other
    assert "--train_dir dump/finetune " in other


def test_where_there_is_no_set_of_its_own(copy_recipe, run_sh, tmp_path):
    mini = copy_recipe(tmp_path, "mini")
    shown = run_sh(mini, "--dry_run", "--finetune_parts", "x")
    assert shown.returncode == 1 and "no such option" in shown.stderr
    named = run_sh(mini, "--dry_run", "--test_parts", "finetune")
    assert named.returncode == 1 and "the recipe's own name for another set" in named.stderr
    translation = copy_recipe(tmp_path, "mini_st")
    shown = run_sh(translation, "--dry_run", "--finetune_parts", "x")
    assert shown.returncode == 1 and "are not for --task st" in shown.stderr
