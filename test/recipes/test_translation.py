"""The translation recipes: options, dry runs, and a very small run of all stages."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from speechlm.data.kaldi_dir import DataDir, read_table
from speechlm.score.sentences import read_sentences

RECIPES = ("mini_st", "covost2")
SMALL = "--train 60 --dev 8 --test 12 --speech 4 --transcribed 10 --text 50"
TUNE = "--max_epoch 2 --num_iters_per_epoch 6 --batch_bins 200000"


@pytest.fixture(scope="module")
def recipe(copy_recipe, run_sh, tmp_path_factory):
    """Run a recipe's run.sh in a copy of it; returns (its folder, what it said)."""
    root = tmp_path_factory.mktemp("recipes")
    for name in ("covost2", "mini_st"):  # the second uses the first's copy
        copy_recipe(root, name)

    def run(name: str, *words: str) -> tuple[Path, subprocess.CompletedProcess]:
        folder = root / "egs" / name
        return folder, run_sh(folder, *words, timeout=900)

    return run


def test_help_shows_the_recipes_own_choices(recipe):
    text = recipe("mini_st", "--help")[1].stdout
    given = {"task": "st", "target_lang": "de"}  # behind the description, which may have lines
    for name, value in given.items():
        assert re.search(rf"--{name} (?:(?!\n  --).)*\[{value}\]", text, re.S)
    assert "[given]" in recipe("covost2", "--help")[1].stdout


def test_dry_run_of_covost2_only_fine_tunes(recipe, root):
    words = ("--dry_run", "--corpus", "cv", "--translations", "tsv", "--target_lang", "de ca")
    folder, result = recipe("covost2", *words)
    assert result.returncode == 0, result.stderr
    named = set(re.findall(r"speechlm\.bin\.(\w+)", result.stderr))
    assert named == {
        "prepare_covost",
        "format_data",
        "train_vocabulary",
        "finetune_st",
        "decode_st",
        "merge_text",
        "score_st",
        "plot_curves",
        "plot_rates",
    }
    for main in named:
        assert (root / "speechlm" / "bin" / f"{main}.py").is_file()
    assert result.stderr.count("not needed: no system starts from a pre-training") == 4
    for output in ("st_given_de", "st_given_ca", "vocabulary_ca"):
        assert re.search(rf"--output exp/{output}\s", result.stderr), output
    assert "--target de ca --part train" in result.stderr
    for language in ("de", "ca"):  # targets and references as in the paper
        assert f"--style moses --language {language}" in result.stderr
    assert result.stderr.count("--style moses") == 4
    formats = [line for line in result.stderr.splitlines() if "bin.format_data" in line]
    limits = "--min_seconds 0.02 --max_seconds 30"
    assert [limits in line for line in formats] == [False, False, True]  # dev, test, translated
    assert "--init ../librispeech/exp/pretrain_speech_text" in result.stderr
    assert not {p.name for p in folder.iterdir()} & {"data", "dump", "exp"}


def test_pre_training_for_translation_is_in_the_language_of_the_speech(recipe):
    words = ("--dry_run", "--corpus", "cv", "--translations", "tsv", "--text_corpus", "t")
    words += ("--systems", "speech_text")
    french = recipe("covost2", *words, "--source_lang", "fr", "--target_lang", "en")[1].stderr
    assert "normalize_text --input t --kind lines --language fr " in french
    assert "make_language --language fr --text data/paired/text data/text/unpaired.txt" in french
    english = recipe("covost2", *words)[1].stderr
    assert "--language en --output data/text" in english and "make_language" not in english
    other = recipe("covost2", *words, "--source_lang", "fr", "--lang", "de")[1]
    assert other.returncode == 1 and "--lang is 'de', and --source_lang" in other.stderr


def test_dry_run_of_mini_st_pretrains(recipe):
    shown = recipe("mini_st", "--dry_run")[1].stderr
    named = set(re.findall(r"speechlm\.bin\.(\w+)", shown))
    assert {"prepare_covost", "prepare_common_voice", "train_gmm", "pretrain"} <= named
    assert "--init exp/pretrain_speech_text" in shown and shown.count("--style cased") == 3
    plain = recipe("mini_st", "--dry_run", "--systems", "scratch")[1].stderr
    assert "pretrain" not in set(re.findall(r"speechlm\.bin\.(\w+)", plain))


def test_a_dry_run_of_covost2_warns_of_translations_that_are_not_there(recipe):
    words = ("--dry_run", "--corpus", "cv", "--translations", "tsv", "--systems", "scratch")
    shown = recipe("covost2", *words)[1].stderr
    assert shown.count("warning: ") == 2
    assert "warning: --translations is 'tsv', which is not there" in shown


def test_trainings_of_mini_st_take_the_threads_that_their_launcher_reserves(recipe):
    shown = recipe("mini_st", "--dry_run")[1].stderr
    threads = re.findall(r"--num_threads (\d+)", shown)
    assert len(threads) >= 8 and set(threads) == {"2"}


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("mini_st", ["--task", "mt"], "it can be asr or st"),
        ("mini_st", ["--target_lang", ""], "--task st needs --target_lang"),
        ("mini_st", ["--target_kind", "word"], "it can be char or bpe"),
        ("mini_st", ["--target_style", "upper"], "it can be cased, lower or moses"),
        ("mini_st", ["--systems", "given"], "--systems given needs --init_model"),
        ("mini_st", ["--task", "asr", "--systems", "given"], "--systems given needs --init_model"),
        ("mini_st", ["--task", "asr", "--systems", "giving"], "it can have scratch, speech"),
        ("mini_st", ["--init_speech", "local/hubert"], "which is no folder, and no name of the"),
        ("mini_st", ["--hidden_model", "/nowhere"], "which is no folder, and no name of the"),
        ("covost2", [], "--corpus, the folder of Common Voice"),
        ("covost2", ["--corpus", "nowhere"], "needs nowhere/en, which is not there"),
    ],
)
def test_wrong_choices_are_explained(recipe, name, words, message):
    result = recipe(name, "--stop_stage", "1", *words)[1]
    assert result.returncode == 1 and message in result.stderr, result.stderr


def test_a_missing_model_is_noticed_before_the_first_stage(recipe):
    result = recipe("mini_st", "--systems", "given", "--init_model", "nowhere")[1]
    assert result.returncode == 1 and "'nowhere', which is no folder" in result.stderr
    assert "== stage" not in result.stderr


def test_a_language_that_the_data_do_not_have(recipe, tmp_path):
    release = tmp_path / "cv" / "en" / "clips"
    release.mkdir(parents=True)
    (tmp_path / "cv" / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\n")
    words = ("--corpus", str(tmp_path / "cv"), "--target_lang", "xx", "--stop_stage", "1")
    result = recipe("covost2", *words)[1]
    assert result.returncode == 1
    assert "no translations of en into xx" in result.stderr and "there: en_de" in result.stderr


@pytest.fixture(scope="module")
def finished(recipe):
    """(folder after all stages from scratch, what a second run says)."""
    words = ("--systems", "scratch", "--data_opts", SMALL, "--finetune_args", TUNE)
    folder, result = recipe("mini_st", *words)
    assert result.returncode == 0, result.stderr[-4000:]
    return folder, recipe("mini_st", *words)[1].stderr


@pytest.mark.recipe
def test_all_stages_run_and_a_second_run_does_nothing(finished):
    folder, again = finished
    assert "done already" in again and ": starts" not in again
    train, test = (DataDir.read(folder / "dump" / name) for name in ("translated", "test"))
    assert (len(train), len(test)) == (60, 12)
    spoken = [set(data.translation("de").values()) for data in (train, test)]
    assert not spoken[0] & spoken[1]
    assert not set(train.utt2spk.values()) & set(test.utt2spk.values())
    decoded = folder / "exp" / "st_scratch_de" / "decode_test"
    assert read_table(decoded / "text", empty=True).keys() == test.wav.keys()
    scores = json.loads((decoded / "score" / "scores.json").read_text())["translation"]
    assert scores["sentences"] == 12 and "tok:13a" in scores["bleu_signature"]
    sentences = read_sentences(decoded / "score" / "sentences.tsv")
    assert {u: s.reference for u, s in sentences.items()} == test.translation("de")
    report = (folder / "exp" / "RESULTS.md").read_text()
    assert "|scratch/en-de test|12|" in report and "reference: " in report


@pytest.mark.recipe
def test_decoding_with_other_jobs_takes_what_is_there(finished, recipe):
    folder = finished[0]
    decoded = folder / "exp" / "st_scratch_de" / "decode_test"
    before = (decoded / "text").read_text()
    for path in (decoded / "parts" / "2" / "partial.tsv", decoded / "text"):
        path.unlink()
    words = ("--systems", "scratch", "--data_opts", SMALL, "--finetune_args", TUNE)
    result = recipe("mini_st", *words, "--nj", "3", "--stage", "13", "--stop_stage", "13")[1]
    assert result.returncode == 0, result.stderr[-2000:]
    assert (decoded / "text").read_text() == before
    logs = "".join(path.read_text() for path in (decoded / "log").iterdir())
    assert re.search(r"[1-9]\d* of \d+ utterances were done before", logs)
