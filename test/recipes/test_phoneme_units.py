"""Phones by a pre-trained model: further labellings of the speech, and rows without fine-tuning."""

import re
from functools import partial

import pytest


@pytest.fixture(scope="module")
def recipe(copy_recipe, run_sh, tmp_path_factory):
    """Run the mini recipe's run.sh; the result's stderr is what would run."""
    return partial(run_sh, copy_recipe(tmp_path_factory.mktemp("phones"), "mini"))


def commands(shown):
    """The commands of a dry run."""
    return [line.strip() for line in shown.splitlines() if line.startswith("    ")]


def find(shown, *parts):
    """Places of the commands that have all these words in this order."""
    pattern = ".*".join(re.escape(part) for part in parts)
    return [n for n, line in enumerate(commands(shown)) if re.search(pattern, line)]


def test_each_labelling_is_made_by_a_model_of_the_one_before(recipe):
    words = ("--dry_run", "--stage", "5", "--stop_stage", "10", "--phone_iterations", "3")
    shown = recipe(*words, "--phone_iteration_args", "--max_epoch 7").stderr
    order = []
    for turn, units, labels in ((1, "units_phone", 2), (2, "units_phone_2", 3)):
        model = f"exp/phones_{turn}"
        scores = f"--speechlm {model} --phone_scores {model}/phone_scores"
        order += [
            find(shown, "bin.pretrain", f"--units {units} --text", f"--output {model} ", "epoch 7"),
            find(shown, f"tune_phone_scores --speechlm {model} --units dump/speech/{units} "),
            find(shown, f"--output dump/speech/units_phone_{labels} ", scores, "merge_units"),
            find(shown, f"--output dump/dev/units_phone_{labels} ", scores, "merge_units"),
        ]
    for system in ("speech", "speech_text"):
        units = "--units units_phone_3"
        order.append(find(shown, "bin.pretrain", units, f"--output exp/pretrain_{system} "))
    assert all(len(places) == 1 for places in order), order
    assert len(find(shown, "tune_phone_scores", "--network_share 0.5 ")) == 2
    assert order == sorted(order)


def test_one_labelling_is_the_recognisers(recipe):
    shown = recipe("--dry_run", "--stage", "6", "--stop_stage", "10").stderr
    assert "stage 6 | not needed with --phone_iterations 1" in shown
    assert "units_phone_" not in shown and "tune_phone_scores" not in shown
    assert len(find(shown, "bin.pretrain", "--units units_phone ")) == 2


@pytest.mark.parametrize("number", ["0", "10"])
def test_a_number_of_labellings_that_cannot_be(recipe, number):
    result = recipe("--dry_run", "--phone_iterations", number)
    assert result.returncode == 1
    assert f"--phone_iterations is '{number}'; it can be 1 to 9" in result.stderr


def test_pre_trained_models_have_a_row_without_fine_tuning(recipe):
    words = ("--dry_run", "--stage", "13", "--systems", "scratch speech_text hidden_text")
    shown = recipe(*words, "--phone_iterations", "2").stderr
    model = "exp/pretrain_speech_text"
    (tuned,) = find(
        shown, f"tune_phone_scores --speechlm {model} --units dump/speech/units_phone_2"
    )
    (decoded,) = find(shown, f"--output {model}/decode_test_phones ", "decode_phones", "merge_text")
    (scored,) = find(
        shown, f"bin.score --name test --ref dump/test/text --hyp {model}/decode_test_p"
    )
    (hmm,) = find(shown, "--output exp/hmm/decode_test_ngram", "decode_phones")
    assert hmm < tuned < decoded < scored
    assert "exp/recognizer/graph/words.txt" in commands(shown)[scored]
    assert find(shown, "tune_phone_scores") == find(shown, "--network_share 0 ") == [tuned]
    without = recipe(*words, "--lm", "none").stderr
    assert "phones" not in without
