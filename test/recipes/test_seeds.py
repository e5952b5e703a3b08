"""A recipe with several seeds: what is run for each, and the report of all."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = '''#!{python}
"""In place of a recipe's run.sh: notes its words, and makes logs and scores as trainings would."""
import json, os, sys, time
from pathlib import Path

given = dict(zip(*[iter(word.removeprefix("--") for word in sys.argv[1:])] * 2))
with open("calls", "a") as calls:
    calls.write(json.dumps(given) + "\\n")
tag, lines = given.get("tag", ""), given.get("text_lines", "")
systems = given.get("systems", "scratch speech speech_text").split()
pretrain, scores = {{}}, []
for system in systems:
    name = system + (f"_{{lines}}" if lines and "text" in system else "")
    if system != "scratch":
        pretrain[system] = f"exp/pretrain_{{name}}_{{tag}}"
    scores.append((f"{{system}} and greedy", f"exp/asr_{{name}}_{{tag}}/decode_test/score", name))
scores.append(("HMM and ngram", "exp/hmm/decode_test_ngram/score", "HMM"))
if "list_steps" in given:
    for system, folder in pretrain.items():
        print(10, folder, f"pre-train {{system}}", sep="\\t")
    for system in systems:
        print(11, f"exp/asr_{{system}}", f"fine-tune {{system}}", sep="\\t")
    for name, folder, _ in scores:
        print(14, folder, f"score test with {{name}}", sep="\\t")
elif "dry_run" in given:
    pass
elif "sleep" in given:
    Path("pid").write_text(str(os.getpid()))
    time.sleep(300)
elif given["stage"] == "10":
    with open("exp/times.tsv", "a") as times:
        for folder in pretrain.values():
            times.write(f"10\\tpre-train\\t9.0\\t8.0\\t{{folder}}\\n")
    for number, folder in enumerate(pretrain.values(), 1):
        Path(folder).mkdir(parents=True)
        start = "2026-01-01 00:00:0"
        values = f"accuracy_middle=0.{{number}}, accuracy_top=0.{{number}}"
        Path(folder, "train.log").write_text(
            f"{{start}}0,000 (x) INFO: 1/1epoch started\\n"
            f"{{start}}5,000 (x) INFO: 1epoch:train: cpu_seconds=4.00\\n"
            f"{{start}}6,000 (x) INFO: 1epoch results: [train] total_count=9, [valid] {{values}}\\n"
        )
elif given["stage"] == "13":
    for _, folder, name in scores:
        wrong = {{"scratch": 9, "speech": 6, "speech_text": 3, "HMM": 2}}.get(name, 4)
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "scores.json").write_text("{{}}")
        rows = ["id\\treference\\thypothesis"]
        for i in range(30):
            said = ["A"] * 10
            said[: wrong + i % 2] = ["B"] * (wrong + i % 2)
            rows.append(f"u{{i}}\\t{{' '.join(['A'] * 10)}}\\t{{' '.join(said)}}")
        Path(folder, "sentences.tsv").write_text("\\n".join(rows) + "\\n")
'''


@pytest.fixture
def seeds(project):
    """Run TEMPLATE/seeds.sh in a recipe whose run.sh is `DRIVER`."""
    recipe = project / "fake"
    (recipe / "dump" / "text").mkdir(parents=True)
    (recipe / "dump" / "text" / "train.txt").write_text("A B\n" * 5000)
    (recipe / "exp").mkdir()
    (recipe / "run.sh").write_text(DRIVER.format(python=sys.executable))
    (recipe / "run.sh").chmod(0o755)

    def run(*words, cwd=recipe):
        return subprocess.run(
            ["../TEMPLATE/seeds.sh", *words],
            cwd=cwd,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run, recipe


def calls(recipe, *names):
    """What run.sh was called with, those that were not to list."""
    lines = [json.loads(line) for line in (recipe / "calls").read_text().splitlines()]
    return [tuple(c.get(name) for name in names) for c in lines if "list_steps" not in c]


def test_seeds_share_what_is_made_before_and_are_compared(seeds):
    run, recipe = seeds
    done = run("--seeds", "2 7", "--text_amounts", "1000", "--nj", "3", "--config_size", "a b")
    assert done.returncode == 0, done.stderr
    names = ("stage", "stop_stage", "seed", "tag", "systems", "text_lines")
    shared = [("1", "9", *[None] * 4), ("12", "12", *[None] * 4)]
    expected = list(shared)
    for n in "27":
        one = (n, f"seed{n}")
        expected += [("10", "11", *one, None, None), ("13", "14", *one, None, None)]
        few = (*one, "speech_text", "1000")
        expected += [("2", "2", *few), ("10", "11", *few), ("13", "14", *few)]
    assert calls(recipe, *names) == expected
    assert set(calls(recipe, "nj", "config_size")) == {("3", "a b")}
    text = (recipe / "exp" / "SEEDS.md").read_text()
    assert "|speech|greedy|2 7|65.0 [" in text and "|HMM|ngram|-|25.0 [" in text
    assert re.search(r"^\|speech greedy\|speech_text greedy\|2 7\|-30\.0 \[", text, re.MULTILINE)
    assert "|HMM ngram|speech_text greedy|2 7|+10.0 [" in text
    assert (
        "`../TEMPLATE/seeds.sh --seeds '2 7' --text_amounts 1000 --nj 3 --config_size 'a b'`"
        in text
    )
    assert "| 10 | exp/pretrain_speech_text_1000_seed7 | 9 | 8 |" in text
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(pictures) == 3
    for picture in pictures:
        assert (recipe / "exp" / picture).read_bytes().startswith(b"\x89PNG"), picture
    assert "speech_text_1000" in (recipe / "exp" / "seeds" / "rates.tsv").read_text()


def test_pairs_that_a_run_does_not_have_are_said_and_the_rest_reported(seeds):
    run, recipe = seeds
    done = run("--seeds", "1", "--systems", "speech")
    assert done.returncode == 0, done.stderr
    text = (recipe / "exp" / "SEEDS.md").read_text()
    assert "|speech|greedy|1|" in text and "Differences over" not in text
    assert "- test: speech and speech_text are not compared, as both are not there" in text


def test_variants_stand_side_by_side(seeds):
    run, recipe = seeds
    assert run("--seeds=1", "--tag", "big").returncode == 0
    assert ("big_seed1",) in calls(recipe, "tag")
    rates = (recipe / "exp" / "seeds_big" / "rates.tsv").read_text()
    assert "\tspeech\tgreedy\t" in rates and (recipe / "exp" / "SEEDS_big.md").is_file()


def test_a_dry_run_says_all_and_makes_nothing(copy_recipe, project):
    recipe = copy_recipe(project.parent, "mini")
    done = subprocess.run(
        ["../TEMPLATE/seeds.sh", "--dry_run", "true", "--seeds", "1 2"],
        cwd=recipe,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not {p.name for p in recipe.iterdir()} & {"data", "dump", "exp", "downloads"}
    trained = re.findall(
        r"speechlm\.bin\.(?:pretrain|finetune_asr) .*--output (\S+) --seed (\d)", done.stderr
    )
    assert {("exp/pretrain_speech_text_seed2", "2"), ("exp/asr_speech_seed1", "1")} <= set(trained)
    compared = re.search(r"'speechlm\.bin\.compare_seeds'.*", done.stderr)[0]
    words = shlex.split(compared)
    assert (
        words[words.index("--without_seed") + 1] == "HMM:ngram:test:exp/hmm/decode_test_ngram/score"
    )
    assert "speech_text:exp/pretrain_speech_text_seed2" in shlex.split(
        re.search(r"'speechlm\.bin\.plot_curves'.*", done.stderr)[0]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", ""], "--seeds names none"),
        (["--seeds", "1 x"], "--seeds has 'x', which is no whole number"),
        (["--seeds", "1 01"], "--seeds has '01'"),
        (["--seeds", "3 1 3"], "--seeds '3 1 3' names one twice"),
        (["--seed", "1"], "--seed is chosen here for each training"),
        (["--finetune-tag=a"], "--finetune-tag=a is chosen here"),
        (["--stop_stage", "11"], "--stop_stage is chosen here"),
        (["--text_amounts", "1k"], "--text_amounts has '1k', which is no number of lines"),
        (["--tag", "a/b"], "--tag has 'a/b'"),
        (["--curves_x", "days"], "--curves_x is 'days'; it can be cpu, wall or updates"),
    ],
)
def test_options_that_cannot_be(seeds, words, message):
    run, recipe = seeds
    done = run(*words)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (recipe / "calls").exists()


def test_it_runs_in_a_recipe_only(seeds, project):
    (project / "empty").mkdir()
    done = seeds[0](cwd=project / "empty")
    assert done.returncode == 1 and "empty has no run.sh" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_run_ends_with_the_script(seeds, number):
    _, recipe = seeds
    process = subprocess.Popen(
        ["../TEMPLATE/seeds.sh", "--sleep", "1"],
        cwd=recipe,
        start_new_session=True,
        # Bash cannot trap what was ignored when it began, as below nohup.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: (recipe / "pid").exists() and (recipe / "pid").read_text())
        process.send_signal(number)  # to the script alone
        assert process.wait(timeout=60) == 130
        wait_until(lambda: not Path("/proc", (recipe / "pid").read_text()).exists())
        assert len(calls(recipe, "stage")) == 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
