"""Completion in bash, asked as bash asks: by the function that `complete` names, for a line."""

import os
import shlex
import subprocess
import sys

import pytest


@pytest.fixture
def completed(root, tmp_path):
    """What the tab key offers for a line that is typed in a folder."""
    # The command as it is installed, whatever environment the tests run in.
    command = tmp_path / "bin" / "speechlm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m speechlm.bin "$@"\n')
    command.chmod(0o755)

    def complete(line: str, folder=None) -> list[str]:
        words = line.split(" ")
        listed = " ".join(map(shlex.quote, words))
        code = f"""
source {shlex.quote(str(root / "tools" / "completion.bash"))}
COMP_WORDS=({listed}) COMP_CWORD={len(words) - 1} COMP_LINE={shlex.quote(line)}
name=${{COMP_WORDS[0]}}
function=$(complete -p -- "${{name}}" 2> /dev/null || complete -p -- "${{name##*/}}")
function=${{function##*-F }} function=${{function%% *}}
"${{function}}" {shlex.quote(words[0])} {shlex.quote(words[-1])} {shlex.quote(words[-2])}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        path = f"{command.parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(root)}
        done = subprocess.run(
            ["bash", "--norc", "-c", code],
            cwd=folder or root / "egs" / "mini",
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return [word for word in done.stdout.split("\n") if word]

    return complete


def listed_by_help(root, recipe, *words):
    script = root / "egs" / recipe / "run.sh"
    shown = subprocess.run([script, *words, "--help"], capture_output=True, text=True).stdout
    lines = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
    return [*lines, "--help"]


def test_all_options_of_every_recipe(root, completed):
    for script in sorted(root.glob("egs/*/run.sh")):
        recipe = script.parent.name
        found = completed("./run.sh --", script.parent)
        assert found == listed_by_help(root, recipe), recipe
        assert len(found) > 10


def test_beginnings_values_and_files(completed, root):
    assert completed("./run.sh --stop") == ["--stop_stage"]
    assert completed("./run.sh --dry_run ") == ["true", "false"]
    assert completed("./run.sh --dry_run f") == ["false"]
    assert completed("./run.sh --pretrain_config ../TEMPLATE/conf/pretrain_b") == [
        "../TEMPLATE/conf/pretrain_base.yaml"
    ]
    assert "--nj" in completed("./run.sh --stage 2 ")
    assert completed("../mini_st/run.sh --target_l") == ["--target_lang"]


def test_tasks_bring_their_options(completed):
    assert set(completed("./run.sh --task ")) == {"asr", "st"}
    assert completed("./run.sh --target_l") == []
    assert completed("./run.sh --task st --target_l") == ["--target_lang"]


def test_another_run_sh_is_not_run(completed, tmp_path):
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\ntouch was_run\necho '  --option'\n")
    script.chmod(0o755)
    (tmp_path / "data.txt").write_text("")
    assert completed("./run.sh --", tmp_path) == []
    assert completed("./run.sh d", tmp_path) == ["data.txt"]
    assert not (tmp_path / "was_run").exists()


def test_programs_of_speechlm_and_their_options(root, completed):
    programs = {path.stem for path in (root / "speechlm" / "bin").glob("[!_]*.py")}
    assert set(completed("speechlm ")) == {*programs, "--help", "--version"}
    assert completed("speechlm normalize_") == ["normalize_text"]
    assert completed("speechlm normalize_text --lang") == ["--language"]
    assert completed("speechlm normalize_text --kind ") == ["auto", "book", "lines"]
    assert completed("speechlm normalize_text --kind b") == ["book"]
    assert "--help" in completed("speechlm score --")
