"""Hidden units in the recipes' driver: options, what runs in which order."""

import re
import subprocess

import pytest

HIDDEN = ("sample_features", "train_kmeans", "apply_kmeans", "unit_quality")
FROM_TEXT = ("make_unit_pairs", "train_text_to_unit", "generate_text_units")


@pytest.fixture(scope="module")
def recipe(copy_recipe, run_sh, tmp_path_factory):
    """Run a recipe's run.sh; the result's stderr is what would run."""
    root = tmp_path_factory.mktemp("hidden")
    folders = {name: copy_recipe(root, name) for name in ("mini", "mini_st")}

    def run(name: str, *words: str) -> subprocess.CompletedProcess:
        return run_sh(folders[name], *words)

    return run


def stages(first: int, last: int) -> tuple[str, ...]:
    """Options of a dry run of these stages."""
    return "--dry_run", "--stage", str(first), "--stop_stage", str(last)


def commands(shown: str) -> list[str]:
    """The commands of a dry run."""
    return [line.strip() for line in shown.splitlines() if line.startswith("    ")]


def mains(shown: str) -> list[str]:
    """Names of the mains in their order, each at its first use."""
    return list(dict.fromkeys(re.findall(r"speechlm\.bin\.(\w+)", shown)))


def find(shown: str, *parts: str) -> list[int]:
    """Places of the commands that have all these words in this order."""
    pattern = ".*".join(re.escape(part) for part in parts)
    return [n for n, line in enumerate(commands(shown)) if re.search(pattern, line)]


def test_hidden_units_of_two_iterations_in_order(recipe, root):
    words = ("--unit_type", "hidden", "--systems", "speech_text", "--iterations", "2", "--clusters")
    shown = recipe("mini", *stages(5, 11), *words, "30 70").stderr
    assert [m for m in mains(shown) if m in HIDDEN + FROM_TEXT] == [*HIDDEN, *FROM_TEXT]
    assert "decode_phones" not in shown and "not needed without hidden" not in shown
    for main in mains(shown):
        assert (root / "speechlm" / "bin" / f"{main}.py").is_file(), main
    order = [
        find(shown, "sample_features", "--features mfcc", "train_kmeans", "--n_clusters 30"),
        find(shown, "apply_kmeans --kmeans exp/kmeans_1/", "--output dump/speech/units_hidden_1"),
        find(shown, "bin.pretrain", "--units units_hidden_1", "exp/hubert_1"),
        find(shown, "sample_features", "--model exp/hubert_1 --layer 2", "--n_clusters 70"),
        find(shown, "apply_kmeans --kmeans exp/kmeans_2/", "--output dump/paired/units_hidden_2"),
        find(shown, "apply_kmeans --kmeans exp/kmeans_2/", "--output dump/speech/units_hidden_2"),
        find(shown, "unit_quality", "iteration_1:", "iteration_2:", "--alignments"),
        find(shown, "make_unit_pairs", "--units dump/paired/units_hidden_2"),
        find(shown, "train_text_to_unit", "conf/text_to_unit_tiny.yaml"),
        find(shown, "generate_text_units", "dump/text/train.txt", "--job JOB --nj 2"),
        find(shown, "generate_text_units", "dump/text/train.txt", "--finish"),
        find(shown, "bin.pretrain", "--units units_hidden_2", "--text_units exp/text_units/train"),
        find(shown, "finetune_asr", "--init exp/pretrain_hidden_text --output exp/asr_hidden_text"),
    ]
    assert all(len(places) == 1 for places in order), order
    assert order == sorted(order)


def test_both_kinds_of_units_stand_side_by_side(recipe):
    systems = "scratch speech_text hidden hidden_text"
    shown = recipe("mini", *stages(5, 11), "--systems", systems, "--iterations", "1").stderr
    assert {"decode_phones", *HIDDEN, *FROM_TEXT} <= set(mains(shown))
    assert not find(shown, "exp/hubert")
    for system in ("speech_text", "hidden", "hidden_text"):
        assert len(find(shown, "bin.pretrain", f"--output exp/pretrain_{system} ")) == 1, system
    phoneme, *_ = (line for line in commands(shown) if "--output exp/pretrain_speech_text" in line)
    assert "--units units_phone" in phoneme
    alone, *_ = (line for line in commands(shown) if "--output exp/pretrain_hidden " in line)
    assert "--units units_hidden_1" in alone and "--text" not in alone
    outputs = re.findall(r"--output (exp/(?:asr|pretrain)_\w+) ", "\n".join(commands(shown)))
    assert len(outputs) == len(set(outputs)) == 7


def test_speech_alone_needs_no_units_of_text(recipe):
    words = ("--unit_type", "hidden", "--systems", "speech", "--iterations", "1")
    shown = recipe("mini", *stages(6, 10), *words).stderr
    assert not set(FROM_TEXT) & set(mains(shown)) and set(HIDDEN) <= set(mains(shown))
    assert shown.count("not needed without units of text") == 2


def test_a_given_model_replaces_the_iterations(recipe, tmp_path):
    words = ("--systems", "hidden", "--hidden_model", str(tmp_path), "--clusters", "7")
    shown = recipe("mini", *stages(6, 7), *words, "--iterations", "3", "--portion", "0.5").stderr
    sampling = f"--portion 0.5 --seed 1 --features model --model {tmp_path} --layer 9"
    assert len(find(shown, "sample_features", sampling, "--n_clusters 7")) == 1
    assert find(shown, "--units model:dump/paired/units_hidden_model")
    assert "mfcc" not in shown and "hubert" not in shown and "bin.train_kmeans" in shown
    shown = recipe("mini", *stages(6, 6), *words, "--hidden_layer", "4").stderr
    assert "--layer 4" in shown


def test_textgrids_add_the_quality_of_dev_in_every_iteration(recipe, tmp_path):
    words = ("--systems", "hidden", "--dev_textgrids", str(tmp_path), "--iterations", "3")
    shown = recipe("mini", *stages(5, 7), *words).stderr
    names = " ".join(f"iteration_{n}:dump/dev/units_hidden_{n}" for n in (1, 2, 3))
    assert find(shown, f"unit_quality --units {names} --textgrids {tmp_path}")
    assert find(shown, "--output exp/hubert_2") and not find(shown, "--output exp/hubert_3")
    decoded = find(shown, "decode_phones")
    assert decoded == find(shown, "decode_phones", "--output dump/dev/units_phone")


def test_warm_start_and_further_options_reach_the_commands(recipe, tmp_path):
    config = tmp_path / "mine.yaml"
    config.touch()
    shown = recipe(
        "mini",
        *stages(6, 10),
        "--systems",
        "speech hidden_text",
        "--init_speech",
        str(tmp_path),
        "--kmeans_args",
        "--n_init 3",
        "--text_to_unit_args",
        "--max_epoch 7",
        "--text_to_unit_config",
        str(config),
        "--iterations",
        "2",
        "--iteration_args",
        "--max_epoch 9",
        "--text_units_args",
        "--chunk_lines 77",
    ).stderr
    assert len(find(shown, "bin.pretrain", f"--init_speech {tmp_path}")) == 2
    assert not find(shown, "--output exp/hubert_1", "--init_speech")
    assert len(find(shown, "train_kmeans", "--n_init 3")) == 2
    assert find(shown, f"--config {config} --output exp/text_to_unit", "--max_epoch 7")
    assert find(shown, "--output exp/hubert_1", "--max_epoch 9")
    assert len(find(shown, "generate_text_units", "--chunk_lines 77")) == 4


def test_translation_from_hidden_units(recipe):
    shown = recipe("mini_st", *stages(1, 11), "--systems", "scratch hidden_text").stderr
    assert {"prepare_common_voice", "train_gmm", *HIDDEN, *FROM_TEXT} <= set(mains(shown))
    assert find(shown, "bin.pretrain", "--output exp/pretrain_hidden_text")
    assert find(shown, "finetune_st", "--init exp/pretrain_hidden_text")
    plain = recipe("mini_st", *stages(1, 9), "--systems", "scratch").stderr
    assert not set(HIDDEN) & set(mains(plain))
    assert plain.count("not needed without hidden units") == 3
