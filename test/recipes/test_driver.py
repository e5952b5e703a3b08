"""The recipes' driver: help, options, dry runs, missing inputs; nothing is trained here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from speechlm.data.download import LM_FILES, TEXT_MD5
from speechlm.data.kaldi_dir import DataDir

RECIPES = ("mini", "librispeech")

HIDDEN = ["--systems", "hidden_text", "--iterations", "1"]


@pytest.fixture
def recipe(copy_recipe, run_sh, tmp_path):
    """Run a recipe's run.sh in a copy of it."""

    def run(name: str, *words: str) -> subprocess.CompletedProcess:
        folder = tmp_path / "egs" / name
        if not folder.exists():
            copy_recipe(tmp_path, name)
        return run_sh(folder, *words)

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_help_lists_every_option(recipe, root, name):
    result = recipe(name, "--help")
    assert result.returncode == 0 and not result.stderr
    options = []
    for file in ("speechlm", "recognizer", "hidden_units", "asr"):
        block = (root / "egs" / "TEMPLATE" / f"{file}.sh").read_text()
        block = block.partition("# <options>")[2].partition("# </options>")[0]
        options += re.findall(r"^([a-z]\w*)=", block, re.MULTILINE)
    assert {"stage", "stop_stage", "dry_run", "nj", "ngpu", "corpus", "speeds"} <= set(options)
    assert "clusters" in options and len(options) == len(set(options))
    for option in options:
        assert re.search(rf"^  --{option} +\S", result.stdout, re.MULTILINE), option


def test_help_shows_the_recipes_own_choices(recipe):
    shown = recipe("mini", "--help").stdout
    assert "[scratch speech speech_text hidden_text]" in shown and "[fast_tiny]" in shown


@pytest.fixture(scope="module", params=RECIPES)
def dry(request, copy_recipe, run_sh, tmp_path_factory):
    """(folder, result) of a dry run of all stages."""
    folder = copy_recipe(tmp_path_factory.mktemp("dry"), request.param)
    return folder, run_sh(folder, "--dry_run")


def test_dry_run_names_every_stage_and_makes_nothing(dry):
    folder, result = dry
    assert result.returncode == 0, result.stderr
    assert not {p.name for p in folder.iterdir()} & {"data", "dump", "exp", "downloads"}
    for stage in range(1, 15):
        assert f"== stage {stage}: " in result.stderr
    assert ("not needed without hidden units" in result.stderr) == (folder.name != "mini")
    named = set(re.findall(r"speechlm\.bin\.(\w+)", result.stderr))
    assert {"prepare_librispeech", "format_data", "pretrain", "finetune_asr", "score"} <= named


def test_every_command_of_the_driver_exists(dry, root):
    for main in set(re.findall(r"speechlm\.bin\.(\w+)", dry[1].stderr)):
        assert (root / "speechlm" / "bin" / f"{main}.py").is_file(), main


def test_the_downloaded_text_is_what_the_recipe_reads(recipe, root):
    """Nothing is downloaded here: the checksums are those of gigabytes."""
    script = (root / "egs" / "librispeech" / "local" / "data.sh").read_text()
    read = re.search(r"texts=\(downloads/(\S+)\)", script)
    assert read and read[1] in TEXT_MD5
    words = ("--dry_run", "--stop_stage", "1", "--data_opts", "--mirror http://localhost:1")
    shown = recipe("librispeech", *words).stderr
    assert shown.count("--mirror http://localhost:1") == 7  # six parts and the text


def test_word_models_of_the_corpus_are_what_is_decoded_with(recipe):
    shown = recipe("librispeech", "--dry_run", "--corpus_lm").stderr
    assert "download_librispeech --lm --output data/lm" in shown
    files = {f"data/lm/{name}" for name in LM_FILES}
    assert set(re.findall(r"data/lm/[\w.]+", shown)) == files
    lines = [line for line in shown.split("\n") if "speechlm.bin." in line]
    (graph,) = (line for line in lines if "make_ctc_graph" in line)
    assert "--lm data/lm/decode_lm.arpa.gz --lexicon data/lm/decode_lexicon.txt" in graph
    assert any("rescore --" in line and "--lm data/lm/rescore_lm.arpa.gz" in line for line in lines)
    own = recipe(
        *("librispeech", "--dry_run", "--stage", "12", "--stop_stage", "12"),
        *("--corpus_lm", "true", "--decode_lm", "own.arpa"),
    ).stderr
    assert "make_ctc_graph --lm own.arpa --lexicon data/lm/decode_lexicon.txt" in own


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mini", "--corpus_lm"), "--corpus_lm is not for mini"),
        (("librispeech", "--corpus_lm", "--lm", "none"), "--corpus_lm is for decoding with words"),
        (("librispeech", "--corpus_lm", "--decode_lm_order", "4"), "for a trained one"),
    ],
)
def test_word_models_of_a_corpus_that_cannot_be(recipe, words, message):
    result = recipe(*words, "--dry_run")
    assert result.returncode == 1 and message in result.stderr


WORDS = ("tune_ctc", "make_ctc_graph", "decode_phones", "rescore", "train_lm")


def commands(shown: str) -> list[str]:
    """Commands of stages 12 to 14 of a dry run."""
    return re.findall(r"speechlm\.bin\.(\w+ .*)", shown)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--lm", "none"), set()),
        (("--lm", "ngram"), {"tune_ctc", "make_ctc_graph", "decode_phones"}),
        (("--lm", "ngram", "--systems", "scratch"), {"tune_ctc", "make_ctc_graph"}),
        ((), set(WORDS)),
        (("--search", "flashlight"), set(WORDS) - {"rescore"}),
        (("--lm", "ngram", "--rescore_lm", "big.arpa"), set(WORDS) - {"train_lm"}),
    ],
)
def test_language_models_choose_the_steps(recipe, words, wanted):
    shown = commands(recipe("mini", "--stage", "12", "--dry_run", *words).stderr)
    assert {line.split()[0] for line in shown} & set(WORDS) == wanted
    greedy = [line for line in shown if line.startswith("decode_ctc") and "--graph" not in line]
    assert greedy and all("dump/test" in line or "emissions_test" in line for line in greedy)
    for line in shown:  # weights are tuned on dev, and the test sets are not read for it
        if line.startswith("tune_"):
            assert "dev" in line and "test" not in line.split(" -- ")[0].replace("decode_dev", "")


def test_the_word_transformer_is_trained_beside_pre_training(recipe):
    """Where the run comes to its stage; else it waits, as with a single stage."""
    for last, expected in (("12", [10, 12]), ("11", [])):
        shown = recipe("mini", "--stage", "10", "--stop_stage", last, "--dry_run").stderr
        lines = [line for line in shown.splitlines() if "word Transformer: would run" in line]
        assert [int(line.split()[1]) for line in lines] == expected


def test_given_weights_and_the_papers_decoder(recipe):
    stage = ("--stage", "13", "--stop_stage", "13", "--dry_run", "--lm", "ngram")
    words = (*stage, "--lm_weight", "1.5", "--paper_decoding", "true")
    shown = commands(recipe("mini", *words).stderr)
    (tuning, *_) = (line for line in shown if line.startswith("tune_ctc"))
    assert "--lm_weight 1.5" in tuning and "--word_score" not in tuning
    papers = [line for line in shown if "--paper" in line]
    assert len(papers) == 4 and all("--search flashlight" in line for line in papers)
    assert not any("--ngram" in line for line in papers)
    words = (*words, "--rescore_lm", "big.arpa")  # as in the paper, if there is one
    papers = [line for line in commands(recipe("mini", *words).stderr) if "--paper" in line]
    assert len(papers) == 4 and all("--paper --ngram big.arpa" in line for line in papers)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lm", "4gram"),
        ("search", "beam"),
        ("lm_weight", "a"),
        ("lm_weight", "0.0"),
        ("lm_weight", "-1"),
        ("blank_score", "1,5"),
        ("nbest", "1"),
    ],
)
def test_values_of_decoding_that_cannot_be(recipe, option, value):
    result = recipe("mini", "--dry_run", f"--{option}", value)
    assert result.returncode == 1 and f"--{option} is '{value}'" in result.stderr


def test_only_the_stages_asked_for(recipe):
    shown = recipe("mini", "--stage", "10", "--stop_stage", "11", "--dry_run").stderr
    assert re.findall(r"== stage (\d+)", shown) == ["10", "11"]


def test_systems_choose_what_is_trained(recipe):
    words = ("--stage", "10", "--stop_stage", "10", "--dry_run", "--systems")
    assert "exp/pretrain" not in recipe("mini", *words, "scratch").stderr
    speech = recipe("mini", *words, "speech").stderr
    assert "exp/pretrain_speech " in speech and "--text dump" not in speech
    both = recipe("mini", *words, "speech_text", "--tag", "b").stderr
    assert "exp/pretrain_speech_text_b " in both and "--text dump/text/train.txt" in both


def test_fewer_lines_of_text_are_for_pre_training_alone(recipe):
    """With names of their own; everything else sees all of the text."""
    words = ("--text_lines", "70", "--systems", "scratch speech_text hidden_text", "--tag", "a")
    result = recipe("mini", "--dry_run", "--stage", "2", "--stop_stage", "12", *words)
    assert result.returncode == 0, result.stderr
    shown = re.findall(r"speechlm\.bin\.(.*)", result.stderr)
    drawn = "dump/text_70_a/train.txt"
    (draws,) = (line for line in shown if line.startswith("sample_text"))
    assert f"--input dump/text/train.txt --lines 70 --seed 1 --output {drawn}" in draws
    readers = {line.split()[0] for line in shown if drawn in line} - {"sample_text"}
    assert readers == {"pretrain", "generate_text_units"}
    everything = {line.split()[0] for line in shown if "dump/text/train.txt" in line}
    words = {"make_lexicon", "train_ngram", "train_lm"}
    assert everything == words | {"normalize_text", "sample_text"}
    trained = re.findall(r"--output (exp/(?:asr|pretrain)_\w+) ", "\n".join(shown))
    assert set(trained) == {
        *("exp/asr_scratch_a", "exp/asr_speech_text_70_a", "exp/asr_hidden_text_70_a"),
        *("exp/pretrain_speech_text_70_a", "exp/pretrain_hidden_text_70_a"),
    }
    stored = [line for line in shown if "--text_units exp/text_units_70_a/train" in line]
    assert len(stored) == 1 and "--dev_text_units exp/text_units/dev" in stored[0]


@pytest.mark.parametrize("name", RECIPES)
def test_the_share_of_what_may_be_wrong_is_that_of_stages_1_and_2(recipe, name):
    words = ("--stop_stage", "2", "--dry_run", "--corpus", "c", "--max_bad_share", "0.25")
    shown = recipe(name, *words).stderr
    checking = re.findall(r"speechlm\.bin\.((?:prepare_|format_)\w+) (.*)", shown)
    assert {main for main, _ in checking} == {"prepare_librispeech", "format_data"}
    assert all("--max_bad_share 0.25 " in options for _, options in checking), shown


def test_a_callers_listing_is_not_this_ones(recipe, monkeypatch):
    monkeypatch.setenv("LISTING_STEPS", "true")
    shown = recipe("mini", "--stop_stage", "2", "--dry_run")
    assert shown.returncode == 0 and not shown.stdout
    assert "make_corpus" in shown.stderr and "| format paired: would run" in shown.stderr


def test_textgrids_of_dev_add_a_comparison(recipe, tmp_path):
    words = ("--dry_run", "--stage", "5", "--stop_stage", "5")
    assert "alignment_report" not in recipe("mini", *words).stderr
    shown = recipe("mini", *words, "--dev_textgrids", str(tmp_path)).stderr
    assert f"alignment_report --textgrids {tmp_path}" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dryrun"], "unknown option --dryrun; the nearest valid one is --dry_run"),
        (["--stage", "15"], "stages are 1 to 14"),
        (["--stage", "5", "--stop_stage", "4"], "it can be 5 (--stage) to 14"),
        (["--unit_type", "letter"], "it can be phoneme or hidden"),
        (["--unit_type", "phoneme hidden"], "it can be phoneme or hidden"),
        (["--task", "asr st"], "--task is 'asr st'; it can be asr or st"),
        (["--task", "steps"], "it can be asr or st"),
        (["--config_size", "huge"], "it can be tiny, base, large, fast_tiny, fast_base or fast"),
        (["--config_size", "fast"], "--config_size is 'fast'; it can be tiny, base"),
        (["--text_lines", "0"], "--text_lines is '0'; it can be a number from 1"),
        (["--text_lines", "1e3"], "--text_lines is '1e3'; it can be a number from 1"),
        (["--text_lines", "9", "--systems", "scratch hidden"], "is for systems that see text"),
        (["--kept_results", "nowhere.tsv"], "--kept_results is 'nowhere.tsv', which is no file"),
        (["--systems", "speech_txt"], "it can have scratch, speech, speech_text"),
        (["--systems", ""], "none of scratch"),
        (["--speeds", "0.9"], "1.0 must be among them"),
        (["--speeds", "1.0 abc"], "numbers are wanted"),
        (["--hidden_layer", "0"], "the number of a layer, from 1"),
        (["--durations", "guessed"], "paper or measured"),
        (["--dev_textgrids", "nowhere"], "which is no folder"),
        (["--nj", "0"], "--nj is 0; it can be 1 or more"),
        (["--num_threads", "0"], "--num_threads is 0; it can be 1 or more"),
        (["--ngpu", "-1"], "--ngpu takes a number, not '-1'"),
        (["--num_procs", "0"], "--num_procs is 0; it can be 1 or more"),
        (["--num_procs", "2", "--ngpu", "1"], "with --ngpu 1 each GPU has a process"),
        (["--num_nodes", "2"], "(cuda_cmd), which has one node; --cluster slurm has more"),
        (["--tag", "two words"], "--tag has 'two words', which cannot be part of a folder's"),
        (["--tag", "a/b"], "--tag has 'a/b'"),
        (["--tag", "a" * 101], "and '-', 100 at most"),
        (["--finetune_tag", "it's"], "--finetune_tag has 'it's'"),
        (["--test_parts", "test ../x"], "--test_parts has '../x'"),
        (["--test_parts", "a/b"], "--test_parts has 'a/b'"),
        (["--test_parts", ".."], "--test_parts has '..'"),
        (["--task", "st", "--target_lang", "de ../fr"], "--target_lang has '../fr'"),
        (["--source_lang", "e:n", "--target_lang", "de", "--task", "st"], "--source_lang has"),
        (["--finetune_config", "nowhere"], "--finetune_config is 'nowhere', which is no file"),
        (["--test_parts", ""], "names nothing to decode"),
        (["--systems", "scratch scratch"], "names one twice"),
        (["--test_parts", "speech"], "the recipe's own name"),
        (["--stage", "08", "--stop_stage", "7"], "it can be 8 (--stage) to 14"),
        (["--iterations", "0"], "--iterations is 0; it can be 1 or more"),
        (["--clusters", "many"], "--clusters is 'many'; it can be a number"),
        (["--clusters", "100,500"], "one for each iteration"),
        (["--hidden_layer", "last"], "it can be the number of a layer"),
        (["--unit_type", "hidden", "--systems", "speech hidden"], "names one twice"),
        (["--systems", "hidden_txt"], "speech_text, hidden, hidden_text"),
    ],
)
def test_wrong_choices_are_explained(recipe, words, message):
    result = recipe("mini", *words)
    assert result.returncode == 1 and message in result.stderr
    assert "== stage" not in result.stderr


@pytest.mark.parametrize(
    ("stage", "words", "missing", "maker"),
    [
        (2, [], "data/paired", 1),
        (3, [], "dump/paired", 2),
        (4, [], "exp/lexicon/known.txt", 3),
        (5, [], "exp/recognizer/gmm", 4),
        (10, ["--train_jobs", "1"], "dump/speech/units_phone", 5),
        (11, [], "dump/paired", 2),
        (13, [], "exp/asr_scratch", 11),
        (14, [], "exp/asr_scratch/decode_test", 13),
        (6, HIDDEN, "dump/speech", 2),
        (7, HIDDEN, "exp/kmeans_1", 6),
        (8, HIDDEN, "exp/recognizer/align_1_sp1.0", 4),
        (9, HIDDEN, "dump/text", 2),
        (10, [*HIDDEN, "--train_jobs", "1"], "dump/speech/units_hidden_1", 7),
    ],
)
def test_a_stage_without_its_inputs_names_who_makes_them(recipe, stage, words, missing, maker):
    result = recipe("mini", "--stage", str(stage), *words)
    assert result.returncode == 1
    assert f"needs {missing}, which is not there" in result.stderr
    assert f"./run.sh --stage {maker} --stop_stage {maker}" in result.stderr


def test_a_corpus_that_is_not_there(recipe):
    result = recipe("librispeech", "--corpus", "nowhere", "--stop_stage", "1")
    assert result.returncode == 1 and "needs nowhere/train-clean-100" in result.stderr
    assert "for you to provide" in result.stderr


def warnings(result):
    """The lines that begin with `warning: ` of a run."""
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


def test_a_dry_run_warns_of_folders_that_are_not_there(recipe, tmp_path):
    words = ("--systems", "given", "--corpus", "nowhere", "--text_corpus", "text other")
    shown = recipe("librispeech", "--dry_run", *words, "--init_model", "none")
    assert shown.returncode == 0 and "would run" in shown.stderr
    assert warnings(shown) == [
        "warning: --corpus is 'nowhere', which is not there",
        "warning: --text_corpus has 'text', which is not there",
        "warning: --text_corpus has 'other', which is not there",
        "warning: --init_model is 'none', which is not there",
    ]
    later = recipe("librispeech", "--dry_run", "--stage", "11", *words, "--init_model", "none")
    assert warnings(later) == ["warning: --init_model is 'none', which is not there"]
    (tmp_path / "my text").mkdir()
    words = ("--corpus", str(tmp_path), "--text_corpus", str(tmp_path / "my text"))
    assert not warnings(recipe("librispeech", "--dry_run", "--stop_stage", "2", *words))


@pytest.mark.parametrize(
    "option", ["--pretrain_args", "--finetune_args", "--phone_model_args", "--lm_args"]
)
@pytest.mark.parametrize("words", ["--max_epoch 1 --num_threads 4", "--ngpu=2"])
def test_what_launchers_reserve_is_an_option_of_the_driver(recipe, option, words):
    """Else a training would take other threads and GPUs than its launcher reserves."""
    result = recipe("mini", "--dry_run", option, words)
    name = "--num_threads" if "threads" in words else "--ngpu"
    assert result.returncode == 1 and "== stage" not in result.stderr
    assert f"{option} has {name}, which ./run.sh takes itself: ./run.sh {name} N" in result.stderr


def test_more_jobs_than_utterances(root, tmp_path):
    data = tmp_path / "data"
    ids = ("7-1", "7-2")
    DataDir(dict.fromkeys(ids, "a.flac"), dict.fromkeys(ids, "7")).write(data)
    script = root / "egs" / "TEMPLATE" / "parallel.sh"
    places = (root / "tools", Path(sys.executable).parent, os.environ["PATH"])
    environment = {**os.environ, "PATH": ":".join(map(str, places))}
    result = subprocess.run(
        [
            script,
            "--data",
            data,
            "--nj",
            "9",
            "--cmd",
            "local.py",
            "--output",
            tmp_path / "out",
            "--",
            "cp",
            "{split}/JOB/wav.scp",
            tmp_path / "out" / "JOB.scp",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.scp", "2.scp", "log"]
