"""What step.py shows of its command, on a terminal and elsewhere."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from terminal import Terminal

WORK = """
import sys, time, logging
from speechlm.progress import progress, show_progress
show_progress()
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
for n in progress(range(int(sys.argv[1])), "utterances"):
    time.sleep(0.1)
    if n % 10 == 4:
        logging.info("looked at %s %d", sys.argv[2], n)
print("made", sys.argv[2])
open(sys.argv[2], "w").close()
"""


@pytest.fixture
def command(root, tmp_path):
    (tmp_path / "work.py").write_text(WORK)

    def words(name: str, items: int, *before: str) -> list:
        step = [sys.executable, root / "tools" / "step.py", "--stage", "7", "--name", name]
        work = [*before, sys.executable, "work.py", str(items), name]
        return [*step, "--output", name, "--", *work]

    return words


@pytest.fixture
def options(root, tmp_path):
    (tmp_path / "private").mkdir()
    environment = {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path / "private")}
    return {"cwd": tmp_path, "env": environment}


def test_a_line_moves_below_what_the_command_prints(command, options, tmp_path):
    terminal = Terminal(columns=100)
    last = terminal.watch(terminal.start(command("units", 35), **options))
    lines = [lines[-1] for lines in terminal.seen if lines[-1].startswith("stage 7 | units 0:")]
    shares = [line for line in lines if "of 35 utterances" in line and "[#" in line]
    assert len(shares) >= 2 and len(set(shares)) >= 2
    assert last[:-2] == [
        "stage 7 | units: starts",
        *(f"looked at units {n}" for n in (4, 14, 24, 34)),
        "made units",
    ]
    assert last[-2].startswith("stage 7 | units: ") and " s (CPU" in last[-2] and last[-1] == ""
    # nothing is left of it
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".units.done", "exp", "private", "units", "work.py"
    ]  # fmt: skip
    assert not list(tmp_path.glob("private/*/*"))


def test_steps_side_by_side_have_a_line_each(command, options):
    terminal = Terminal(columns=100)
    steps = [terminal.start(command(name, n), **options) for name, n in (("a", 25), ("b", 35))]
    last = terminal.watch(*steps)
    both = [
        lines
        for lines in terminal.seen
        if sum(line.startswith(("stage 7 | a 0:", "stage 7 | b 0:")) for line in lines) == 2
    ]
    assert both
    assert sum("looked at" in line for line in last) == 7
    assert not any("utterances" in line for line in last)


def test_more_lines_than_the_terminal_has_are_counted(command, options):
    terminal = Terminal(columns=100, rows=4)
    names = "abcd"
    last = terminal.watch(*(terminal.start(command(name, 25), **options) for name in names))
    assert any("and 3 more" in lines[-1] for lines in terminal.seen)
    assert sum("looked at" in line for line in last) == 12


def test_the_exit_code_and_half_a_line_are_kept(command, options, root):
    terminal = Terminal()
    words = [*command("x", 1)[:8], "--", "sh", "-c", "printf half >&2; exit 3"]
    process = terminal.start(words, **options)
    last = terminal.watch(process)
    assert process.returncode == 3
    assert any("half" in line for line in last) and any("failed with code 3" in x for x in last)


def test_a_command_that_closes_its_streams_is_shown(command, options, tmp_path):
    """As one does that writes to a log of its own."""
    terminal = Terminal(columns=100)
    words = command("units", 25)
    place = words.index("--") + 1
    words[place:] = ["sh", "-c", 'exec "$@" > log 2>&1', "sh", *words[place:]]
    terminal.watch(terminal.start(words, **options))
    assert any("of 25 utterances" in lines[-1] for lines in terminal.seen)
    assert (tmp_path / "log").read_text().endswith("made units\n")


def test_much_that_is_printed_at_the_end_comes_whole(command, options):
    terminal = Terminal(columns=60_000)
    words = [*command("x", 1)[:8], "--", sys.executable, "-c"]
    script = "import sys; sys.stderr.write('a' * 50_000 + '\\n' + 'b' * 40_000); sys.exit(1)"
    last = terminal.watch(terminal.start([*words, script], **options))
    assert [len(line) for line in last[1:3]] == [50_000, 40_000]
    assert "failed with code 1" in last[3]


def test_stdout_that_is_no_terminal_is_left_alone(command, options, tmp_path):
    terminal = Terminal()
    with (tmp_path / "stdout").open("wb") as file:
        last = terminal.watch(terminal.start(command("units", 15), stdout=file, **options))
    assert (tmp_path / "stdout").read_text() == "made units\n"
    assert "made units" not in last


def test_a_terminal_that_goes_away_stops_nothing(command, options, tmp_path):
    terminal = Terminal()
    process = terminal.start(command("units", 20), start_new_session=True, **options)
    os.close(terminal.slave)
    time.sleep(0.5)
    os.close(terminal.master)
    process.wait(60)
    assert (tmp_path / "units").exists()


def test_in_a_log_nothing_moves_and_stdout_is_the_commands(command, options):
    environment = {**os.environ, **options["env"]}
    found = subprocess.run(
        command("units", 15), cwd=options["cwd"], env=environment, capture_output=True, text=True
    )
    assert found.stdout == "made units\n"
    assert "\x1b" not in found.stderr and "utterances" not in found.stderr


def test_a_log_has_plain_lines_once(command, options, root):
    """From the step; the command, whose stderr is the same, says nothing itself."""
    sooner = (
        "import sys; from speechlm.progress import words; words._INTERVALS_S = (1, 3600);"
        f"sys.path.insert(0, {str(root / 'tools')!r}); import step; step.main(sys.argv[1:])"
    )
    words = command("units", 25)
    environment = {**os.environ, **options["env"]}
    found = subprocess.run(
        [sys.executable, "-c", sooner, *words[2:]],
        cwd=options["cwd"],
        env=environment,
        capture_output=True,
        text=True,
    )
    shown = [line for line in found.stderr.splitlines() if "utterances" in line]
    assert len(shown) == 1 and shown[0].startswith("stage 7 | units: ")
    assert "of 25 utterances" in shown[0]


def test_the_folder_of_somebody_else_is_not_drawn_from(command, options, tmp_path):
    """Others could write there: on the terminal nothing of it is seen."""
    terminal = Terminal()
    device = os.fstat(terminal.slave).st_rdev
    foreign = tmp_path / "foreign" / f"terminal-{device}"
    foreign.mkdir(parents=True)
    (foreign / "1.2").write_text("\x1b[2Jfrom somebody else")
    os.utime(foreign / "1.2", (time.time() + 30, time.time() + 30))
    (tmp_path / "private" / f"speechlm-{os.getuid()}").symlink_to(tmp_path / "foreign")
    terminal.watch(terminal.start(command("units", 20), **options))
    assert not any("somebody" in line for lines in terminal.seen for line in lines)
    assert any("of 20 utterances" in line for lines in terminal.seen for line in lines)
    shutil.rmtree(foreign)
