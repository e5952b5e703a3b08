"""Nodes and processes of trainings: what their launchers are told."""

import re

import pytest

SLURM = 'export train_cmd="slurm.py" decode_cmd="slurm.py" cuda_cmd="slurm.py --time 1-0"\n'
WIDE = (
    "slurm.py --time 1-0 --num_nodes 2 --num_threads 4 --mem 8G --gpu 4 FOLDER/job.log "
    "ranks.py --nodes 2 --per_node 4 --num_threads 2 python"
)


@pytest.fixture
def launched(copy_recipe, run_sh, tmp_path):
    """Give {name of a training: what starts it}, as a dry run shows it."""

    def launched(*words: str, cmd: str = "", task: str = "mini") -> dict[str, str]:
        recipe = copy_recipe(tmp_path, task)
        if cmd:
            (recipe / "cmd.sh").write_text(cmd)
        stages = ("--stage", "4", "--stop_stage", "12")
        result = run_sh(recipe, "--dry_run", "true", *stages, *words)
        assert result.returncode == 0, result.stderr
        shown = re.findall(r"\| (.*): would run(?:: .*)?\n +(.*) -m speechlm\.bin\.", result.stderr)
        return {name: line for name, line in shown if "job.log" in line}

    return launched


def test_pretraining_and_fine_tuning_have_nodes_and_others_one(launched):
    words = ("--num_nodes", "2", "--ngpu", "4", "--num_threads", "2", "--lm", "transformer")
    found = launched(*words, "--systems", "speech_text hidden", "--iterations", "2", cmd=SLURM)
    for name in ("pre-train speech_text", "model for iteration 2", "fine-tune speech_text"):
        assert re.sub(r"\S+/job.log", "FOLDER/job.log", found[name]) == WIDE, name
    for name in ("word Transformer", "network 1"):
        assert "ranks.py" not in found[name] and "--num_nodes" not in found[name]


def test_translation_has_nodes_too(launched):
    words = ("--num_nodes", "2", "--ngpu", "4", "--num_threads", "2", "--systems", "scratch")
    found = launched(*words, cmd=SLURM, task="mini_st")
    line = next(line for name, line in found.items() if name.startswith("translate into"))
    assert "--num_nodes 2" in line and "ranks.py --nodes 2 --per_node 4" in line


def test_processes_without_gpus(launched):
    words = ("--num_procs", "3", "--num_threads", "2", "--systems", "speech")
    line = launched(*words)["pre-train speech"]
    assert line == (
        "local.py --num_threads 6 exp/pretrain_speech/job.log "
        "ranks.py --nodes 1 --per_node 3 --num_threads 2 --cpu python"
    )


def test_one_process_needs_no_launcher_of_ranks(launched):
    lines = launched("--systems", "speech").values()
    assert lines and not any("ranks.py" in line for line in lines)
