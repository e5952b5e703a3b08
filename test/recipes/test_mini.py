"""Every stage of the mini recipe on a very small corpus; what is trained must have learned."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

CORPUS = (
    "--paired 120 --unpaired 80 --dev 15 --test 20 --text 3000"
    " --speakers 2,2,1,1 --min_snr 35 --max_snr 40"
)


def run_recipe(folder: Path) -> str:
    """Run all stages; return what was printed to stderr."""
    result = subprocess.run(
        ["./run.sh", "--systems", "speech_text", "--data_opts", CORPUS,
         "--phone_model_args", "--max_epoch 5 --batch_bins 40000",
         "--pretrain_args", "--max_epoch 3 --num_iters_per_epoch 120",
         "--finetune_args", "--max_epoch 3 --num_iters_per_epoch 90"],
        cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stderr


def epoch_values(log: Path, part: str, name: str) -> list[float]:
    """Return a statistic of each epoch from a training's log."""
    pattern = rf"epoch results: .*\[{part}\][^\[]*\b{name}=([0-9.e+-]+)"
    return [float(match[1]) for match in re.finditer(pattern, log.read_text())]


@pytest.fixture(scope="module")
def finished(copy_recipe, tmp_path_factory) -> tuple[Path, str]:
    """(folder of the recipe after all stages, what a second run says)."""
    folder = copy_recipe(tmp_path_factory.mktemp("mini"), "mini")
    run_recipe(folder)
    return folder, run_recipe(folder)


@pytest.mark.recipe
def test_pretraining_learns_from_speech_and_text(finished):
    log = finished[0] / "exp" / "pretrain_speech_text" / "train.log"
    learned = (("train", "loss_middle"), ("train", "loss_top"), ("train", "loss_ctc"),
               ("valid", "loss_ctc"))  # fmt: skip
    for part, name in learned:
        values = epoch_values(log, part, name)
        assert len(values) == 3 and values[-1] < 0.95 * values[0], (part, name, values)


@pytest.mark.recipe
def test_fine_tuning_learns_to_spell(finished):
    scores = json.loads(
        (finished[0] / "exp" / "asr_speech_text" / "decode_test" / "score" / "scores.json")
        .read_text()
    )  # fmt: skip
    counts = scores["CER"]
    errors = counts["substitutions"] + counts["deletions"] + counts["insertions"]
    spoken = counts["correct"] + counts["substitutions"] + counts["deletions"]
    assert errors / spoken < 0.65, counts  # blanks alone: 1.0, the most frequent letters: 0.71


@pytest.mark.recipe
def test_a_second_run_does_nothing_again(finished):
    assert "done already" in finished[1] and ": starts" not in finished[1]


@pytest.mark.recipe
def test_the_report_has_the_system_and_the_times(finished):
    report = (finished[0] / "exp" / "RESULTS.md").read_text()
    assert "speech_text" in report and "test WER" in report
    assert re.search(r"^\| 10 \| \d+ \| pre-train speech_text", report, re.MULTILINE)
