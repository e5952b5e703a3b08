"""What the recipes' driver takes from tables: systems, tasks, and the steps of a recipe."""

import re

import pytest

TASK = """#!/usr/bin/env bash
# Probing (--task probe).

# <options>
# Probing of the frozen model
probe_layers="1 2"         # layers that are looked at
                           # (each on its own)
# </options>

check_probe() {
  [[ ${probe_layers} =~ ^[0-9\\ ]+$ ]] || die "--probe_layers is '${probe_layers}', not numbers"
}

probe_11() {
  local system layer
  for system in "${inits[@]}"; do
    for layer in ${probe_layers}; do
      step "probe layer ${layer} of ${system}" --output "exp/probe_${system}_${layer}" \\
        --needs dump/paired "$(initial "${system}")" -- \\
        cp -r dump/paired "exp/probe_${system}_${layer}"
    done
  done
}
"""

KIND = """#!/usr/bin/env bash
# Units of equal length (--systems fixed).

# <options>
# Units of equal length
frames=10                  # of a unit
# </options>

check_fixed() { ((frames >= 1)) || die "--frames is ${frames}; it can be 1 or more"; }

fixed_units() { echo "units_fixed_${frames}"; }
fixed_options() { echo --dropout; }
fixed_needs() { echo dump/fixed; }
fixed_reports() { echo "Units of equal length:exp/fixed/units.md"; }

fixed_7() {
  step "fixed units" --output "dump/speech/$(fixed_units)" --needs dump/speech -- \\
    cp -r dump/speech "dump/speech/$(fixed_units)"
}
"""


@pytest.fixture
def mini(copy_recipe, project):
    """egs/mini in a project whose TEMPLATE may be changed."""
    return copy_recipe(project.parent, "mini")


@pytest.fixture
def probing(mini):
    """The same with a further task, made up here."""
    (mini.parent / "TEMPLATE" / "probe.sh").write_text(TASK)
    return mini


def test_a_task_is_a_file(probing, run_sh):
    words = ("--task", "probe", "--dry_run", "--stage", "10", "--systems", "speech hidden_text")
    shown = run_sh(probing, *words, "--probe_layers", "4 7")
    assert shown.returncode == 0, shown.stderr
    assert re.findall(r"stage 11 \| (.*): would run", shown.stderr) == [
        f"probe layer {layer} of {system}" for system in ("speech", "hidden_text") for layer in "47"
    ]
    assert "exp/pretrain_hidden_text " in shown.stderr and "finetune_asr" not in shown.stderr
    for stage in (12, 13, 14):
        assert f"stage {stage} | not needed for --task probe" in shown.stderr


def test_a_tasks_file_has_its_options_help_and_checks(probing, run_sh):
    text = run_sh(probing, "--task", "probe", "--help").stdout
    assert "\nProbing of the frozen model\n" in text
    assert re.search(
        r"^  --probe_layers +layers that are looked at\n +\(each.*\[1 2\]", text, re.M | re.S
    )
    assert "--probe_layers" not in run_sh(probing, "--help").stdout
    wrong = run_sh(probing, "--task=probe", "--probe_layers", "last")
    assert wrong.returncode == 1 and "--probe_layers is 'last', not numbers" in wrong.stderr
    unknown = run_sh(probing, "--probe_layers", "4")
    assert unknown.returncode == 1 and "unknown option --probe_layers" in unknown.stderr
    other = run_sh(probing, "--task", "parallel")
    assert other.returncode == 1 and "it can be asr, probe or st" in other.stderr


def test_a_tasks_inputs_name_who_makes_them(probing, run_sh):
    words = ("--task", "probe", "--stage", "11", "--systems", "speech")
    said = run_sh(probing, *words).stderr
    assert "needs dump/paired, which is not there; stage 2 makes it" in said
    assert "needs exp/pretrain_speech, which is not there; stage 10 makes it" in said


def test_a_system_is_a_row(mini, run_sh):
    table = mini.parent / "TEMPLATE" / "systems.sh"
    row = "  given        given       -        -     -\n"
    new = "  cheap_text   pretrained  hidden   text  pretrain_cheap\n"
    assert row in table.read_text()
    table.write_text(table.read_text().replace(row, row + new))
    (mini / "conf" / "pretrain_cheap_fast_tiny.yaml").touch()
    words = ("--dry_run", "--stage", "5", "--stop_stage", "11", "--systems", "cheap_text")
    shown = run_sh(mini, *words).stderr
    commands = [line for line in shown.splitlines() if line.startswith("    ")]
    (pretrain,) = (c for c in commands if "bin.pretrain " in c)
    assert "--config conf/pretrain_cheap_fast_tiny.yaml" in pretrain
    assert "--units units_hidden_1 --text dump/text/train.txt" in pretrain
    assert "--text_units exp/text_units/train" in pretrain
    assert pretrain.count("--output exp/pretrain_cheap_text ") == 1
    assert "train_text_to_unit" in shown and "units_phone" not in shown
    assert "--init exp/pretrain_cheap_text --output exp/asr_cheap_text" in shown
    wrong = run_sh(mini, "--systems", "cheap")
    assert "hidden_text, given, cheap_text" in wrong.stderr


@pytest.fixture
def fixed(mini):
    """egs/mini with a further kind of unit, made up here, and a system that has it."""
    template = mini.parent / "TEMPLATE"
    (template / "fixed_units.sh").write_text(KIND)
    table = template / "systems.sh"
    row = "  given        given       -        -     -\n"
    new = "  fixed        pretrained  fixed    -     pretrain\n"
    table.write_text(table.read_text().replace(row, new + row))
    return mini


def test_a_kind_of_unit_is_a_file(fixed, run_sh):
    dry = ("--dry_run", "--stage", "6", "--stop_stage", "10", "--systems")
    shown = run_sh(fixed, *dry, "fixed hidden", "--frames", "7").stderr
    assert "stage 7 | fixed units: would run" in shown
    assert "stage 7 | hidden units 1 of paired: would run" in shown
    assert "--units units_fixed_7 --dropout --output exp/pretrain_fixed " in shown
    alone = run_sh(fixed, *dry, "fixed").stderr
    assert "fixed units: would run" in alone and "apply_kmeans" not in alone
    assert alone.count("not needed without hidden units") == 2
    neither = run_sh(fixed, *dry, "speech_text").stderr
    assert "stage 7 | not needed without hidden or fixed units" in neither
    assert "fixed units: would" not in neither and "apply_kmeans" not in neither
    meant = run_sh(fixed, *dry, "speech", "--unit_type", "fixed").stderr
    assert "exp/pretrain_fixed " in meant


def test_a_kinds_file_has_its_options_help_checks_and_reports(fixed, run_sh):
    text = run_sh(fixed, "--help").stdout
    assert "\nUnits of equal length\n" in text and re.search(r"--frames +of a unit \[10\]", text)
    wrong = run_sh(fixed, "--frames", "0")
    assert wrong.returncode == 1 and "--frames is 0; it can be 1 or more" in wrong.stderr
    listed = fixed.parent / "TEMPLATE" / "asr.sh"
    listed.write_text(
        listed.read_text().replace("  write_report", '  say "${reports[*]}"\n  write_report')
    )
    words = ("--dry_run", "--stage", "14", "--systems")
    assert "Units of equal length:exp/fixed/units.md" in run_sh(fixed, *words, "fixed").stderr
    assert "Units of equal length" not in run_sh(fixed, *words, "hidden").stderr


def test_recognition_from_a_given_model(mini, run_sh, tmp_path):
    words = ("--systems", "scratch given", "--init_model", str(tmp_path), "--dry_run")
    shown = run_sh(mini, *words)
    assert shown.returncode == 0, shown.stderr
    assert f"--init {tmp_path} --output exp/asr_given" in shown.stderr
    assert "decode test with given" in shown.stderr and "bin.pretrain " not in shown.stderr
    assert "bin.make_ctc_graph " in shown.stderr and "bin.decode_phones " not in shown.stderr
    assert shown.stderr.count("not needed: no system starts from a pre-training") == 3
    early = run_sh(mini, *words[:4], "--stage", "11")
    assert "needs dump/paired, which is not there; stage 2 makes it" in early.stderr
    absent = run_sh(mini, *words[:2], "--init_model", "nowhere")
    assert absent.returncode == 1 and "'nowhere', which is no folder" in absent.stderr


@pytest.mark.parametrize(
    ("name", "last"),
    [("mini", 14), ("librispeech", 2), ("librilight", 2), ("mini_st", 2), ("covost2", 2)],
)
def test_steps_are_listed_as_they_would_run(copy_recipe, run_sh, tmp_path, name, last):
    folder = copy_recipe(tmp_path, name)
    systems = ("--systems", "scratch speech_text hidden_text")
    listed = run_sh(folder, "--list_steps", "--stage", "9", "--stop_stage", "9", *systems)
    assert listed.returncode == 0 and not listed.stderr
    steps = [line.split("\t") for line in listed.stdout.splitlines()]
    makers = {output: stage for stage, output, _ in steps}
    assert makers["data/dev"] == "1" and makers["exp/lexicon/words.txt"] == "3"
    assert makers["exp/pretrain_hidden_text"] == "10"
    given = {"covost2": ("--corpus", "CV", "--text_corpus", "T")}
    given["librilight"] = ("--speech_corpus", "LL")
    corpus = given.get(name, ())
    dry = run_sh(folder, "--dry_run", "--stop_stage", str(last), *systems, *corpus)
    assert dry.returncode == 0, dry.stderr
    named = re.findall(r"stage (\d+) \| (.*): would run", dry.stderr)
    beside = ("10", "word Transformer")  # listed at its own stage, which makes it where 10 has not
    assert (beside in named) == (name == "mini")
    named = [step for step in named if step != beside]
    expected = [(stage, step) for stage, _, step in steps if int(stage) <= last]
    assert list(dict.fromkeys(expected)) == list(dict.fromkeys(named))
    assert not {p.name for p in folder.iterdir()} & {"data", "dump", "exp", "downloads"}


def test_missing_inputs_of_a_fresh_folder(copy_recipe, run_sh, tmp_path):
    """What a stage makes is told from what is the user's own, also under odd names."""
    folder = copy_recipe(tmp_path, "mini")
    own = tmp_path / "it's $mine; a lexicon\twith tabs"
    own.touch()
    words = ("--lexicon", str(own), "--tag", "a.b", "--systems", "speech_text")
    said = run_sh(folder, *words, "--stage", "3").stderr
    assert "needs dump/text, which is not there; stage 2 makes it" in said
    said = run_sh(folder, *words, "--stage", "11").stderr
    assert "needs exp/pretrain_speech_text_a.b, which is not there; stage 10 makes it" in said
    corpus = run_sh(folder, "--corpus", "nowhere", "--stop_stage", "1").stderr
    assert "needs nowhere/train-paired, which is not there; it is for you to provide" in corpus
