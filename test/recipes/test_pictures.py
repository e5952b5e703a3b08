"""Pictures of stage 14: which are drawn, which are said to be missing, what a failure does."""

import re
import shlex
import subprocess

import pytest

MINI = ("--stage", "14", "--dry_run", "true")


def drawn(shown: str) -> dict[str, list[str]]:
    """Commands of the pictures by their files."""
    commands = re.findall(r"\| picture \S+: would run\n    (python .*)", shown)
    return {words[-1].rpartition("/")[2]: words for words in map(shlex.split, commands)}


@pytest.fixture
def recipe(copy_recipe, run_sh, tmp_path):
    """Function that runs a copy of a recipe and gives what it said."""

    def run(name, *words):
        done = run_sh(copy_recipe(tmp_path, name), *MINI, *words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def test_the_mini_recipe_draws_all(recipe):
    found = drawn(recipe("mini"))
    assert set(found) == {
        f"{name}.png"
        for name in (
            *("curves", "rates_test", "finetuning", "tuning", "units_phoneme", "units_hidden"),
            *("durations_phoneme", "durations_hidden", "utterance_speech_text"),
            "utterance_hidden_text",
        )
    }
    assert "hidden_text:exp/pretrain_hidden_text" in found["curves.png"]
    assert "--durations" in found["durations_phoneme.png"]  # measured, as in pre-training
    assert "exp/text_units/train" in found["durations_hidden.png"]
    assert found["utterance_hidden_text.png"][-3:-2] == ["exp/images/attention_hidden_text.png"]
    assert "HMM:ngram:test:exp/hmm/decode_test_ngram/score" in found["rates_test.png"]


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (("--systems", "scratch"), {"curves", "units_phoneme", "durations_phoneme"}),
        (("--lm", "none", "--systems", "speech"), {"tuning", "durations_phoneme"}),
        (("--lm_weight", "1", "--word_score", "0", "--blank_score", "2"), {"tuning"}),
    ],
)
def test_what_a_run_does_not_have_is_not_drawn(recipe, words, absent):
    found = drawn(recipe("mini", *words))
    assert not {f"{name}.png" for name in absent} & found.keys()
    assert {"rates_test.png", "finetuning.png"} <= found.keys()


def test_translation_and_tags(recipe):
    found = drawn(recipe("mini_st", "--tag", "x"))
    assert {"finetuning_x.png", "rates_en-de_test_x.png", "curves_x.png"} <= found.keys()
    assert not any(name.startswith("tuning") for name in found)


@pytest.fixture
def draw(root, tmp_path):
    """Function: commands of bash behind those of the stage -> what they print."""

    def run(commands):
        script = f"""
            set -euo pipefail
            cd {shlex.quote(str(tmp_path))}
            dry_run=false listing=false text_lines="" finetune_tag=t unit_kinds=()
            die() {{ echo "error: $*" >&2; exit 1; }}
            log_of() {{ echo "exp/log/${{1##*/}}.log"; }}
            step() {{ while [[ $1 != -- ]]; do shift; done; shift; "$@"; }}
            . {shlex.quote(str(root / "egs" / "TEMPLATE" / "pictures.sh"))}
            {commands}
            printf '%s\\n' "${{pictures[@]}}"; printf '%s\\n' "${{no_pictures[@]}}"
        """
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True)

    return run


def test_a_picture_that_fails_is_said_to_be_missing(draw, tmp_path):
    done = draw(
        "draw one --also exp/two.png -- true\n"
        "draw bad --needs x -- bash -c 'echo error: no points >&2; exit 1'\n"
        "draw last -- true"
    )
    assert done.returncode == 0, done.stderr
    log = "exp/log/bad_t.png.log"
    assert done.stdout.splitlines() == [
        *("exp/images/one_t.png", "exp/two.png", "exp/images/last_t.png"),
        f"bad:it could not be drawn; {log} says why",
    ]
    assert "error: no points" in done.stderr
    assert (tmp_path / log).read_text() == "error: no points\n"


def test_an_interrupted_picture_ends_the_run(draw):
    done = draw("draw one -- bash -c 'exit 130'\necho went on")
    assert done.returncode == 130 and "went on" not in done.stdout
