"""The stages that the mains' docstrings name are those in which the recipes run them."""

import re
import subprocess
from collections import defaultdict

import pytest

RUNS = (
    ("mini", "--systems speech_text --stage 2 --stop_stage 2 --text_lines 9"),
    (
        "mini",
        "--systems 'scratch speech_text hidden_text' --iterations 2 --phone_iterations 2 "
        "--dev_textgrids local",
    ),
    ("mini_st", "--systems speech_text --stop_stage 1"),
    ("mini_st", "--systems scratch --stage 11"),
    ("librispeech", "--stop_stage 1"),
    ("librilight", "--stop_stage 1 --speech_corpus local"),
    ("superb", "--models a=local --tasks ks"),
)


@pytest.fixture(scope="module")
def stages_run(copy_recipe, tmp_path_factory):
    """{main: stages in which the recipes would run it}."""
    found = defaultdict(set)
    for name, options in RUNS:
        recipe = copy_recipe(tmp_path_factory.mktemp("recipes"), name)
        command = ["bash", "-c", f"./run.sh --dry_run {options}"]
        result = subprocess.run(command, cwd=recipe, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        for block in re.split(r"^(?=stage \d+ \|)", result.stderr, flags=re.MULTILINE):
            stage = re.match(r"stage (\d+) \|", block)
            mains = re.findall(r"speechlm\.bin\.(\w+)", block)
            mains += ["split_data"] * ("/parallel.sh " in block)
            for main in mains:
                found[main].add(int(stage[1]))
    return found


def docstring_stages(root, name):
    """Stages named in the first words of a main's docstring."""
    text = (root / "speechlm" / "bin" / f"{name}.py").read_text()
    named = re.match(r'"""Stages? (\d+(?:(?:, | and )\d+)*): ', text)
    return {int(number) for number in re.findall(r"\d+", named[1])} if named else set()


def test_docstrings_name_the_stages(stages_run, root):
    assert len(stages_run) > 35
    said = {name: docstring_stages(root, name) for name in stages_run}
    assert said == dict(stages_run)


def test_no_other_main_names_a_stage(stages_run, root):
    """But for those that a script runs where a dry run does not go, such as the report.

    seeds.sh runs a recipe several times; what it does with their results is no stage.
    """
    files = [path for path in (root / "egs").rglob("*.sh") if path.name != "seeds.sh"]
    scripts = "".join(path.read_text() for path in files)
    called = set(re.findall(r"speechlm\.bin\.(\w+)|^ *write_report (\w+)", scripts, re.MULTILINE))
    called = {name for pair in called for name in pair if name}
    mains = {p.stem for p in (root / "speechlm" / "bin").glob("[!_]*.py")}
    assert mains >= called >= set(stages_run) - {"split_data"}
    assert {name for name in mains if docstring_stages(root, name)} == called
