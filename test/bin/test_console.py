"""The command `speechlm`: it lists, finds and runs every program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from speechlm import __version__
from speechlm.bin import __main__ as console

NAMES = sorted(
    path.stem
    for path in (Path(__file__).resolve().parents[2] / "speechlm" / "bin").glob("*.py")
    if not path.name.startswith("_")
)


@pytest.fixture
def speechlm(monkeypatch, capsys):
    """Function: words of a command line -> (exit status, standard output, errors)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/speechlm", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            console.main()
        for name in NAMES:  # other tests run programs as `__main__`, which should not be there
            sys.modules.pop(f"speechlm.bin.{name}", None)
        return (stopped.value.code, *capsys.readouterr())

    return call


@pytest.mark.parametrize("name", NAMES)
def test_every_program_is_reached_under_its_name(speechlm, name):
    code, out, _ = speechlm(name, "--help")
    assert code == 0 and out.startswith(f"usage: speechlm {name} ")


def test_the_overview_has_a_line_for_each(speechlm):
    code, out, _ = speechlm("--help")
    lines = dict(re.findall(r"^  (\w+) +(\S.*\.)$", out, re.MULTILINE))
    assert code == 0 and sorted(lines) == NAMES and len(NAMES) > 50
    assert lines["transcribe"].startswith("What is said in recordings")


def test_the_version(speechlm):
    assert speechlm("--version") == (0, f"speechlm {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the name of a program expected; speechlm --help lists them"),
        (["transcrib"], "there is no program 'transcrib'; did you mean transcribe?"),
        (["decode-ctc"], "there is no program 'decode-ctc'; did you mean decode_ctc or "),
        (["_cli"], "there is no program '_cli'; speechlm --help lists them"),
        (["../x"], "there is no program '../x'; speechlm --help lists them"),
        (["--verson"], "there is no program '--verson'; speechlm --help lists them"),
    ],
)
def test_wrong_names(speechlm, words, message):
    code, out, errors = speechlm(*words)
    assert (code, out) == (2, "") and message in errors


def test_exit_statuses_are_the_programs(speechlm, tmp_path):
    code, _, errors = speechlm("transcribe", "--modle", "x")
    assert code == 2 and errors.splitlines()[-1].startswith("speechlm transcribe: error: unknown ")
    code, *_ = speechlm("transcribe", "--model", "none", tmp_path)
    assert code.startswith("error: ") and str(tmp_path) in code  # which Python exits with 1 for


def test_as_a_process_it_is_quick_and_needs_no_packages(root):
    """-S: nothing of site-packages is found."""
    command = [sys.executable, "-S", "-m", "speechlm.bin"]
    done = subprocess.run([*command, "--help"], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "\n  transcribe " in done.stdout
    done = subprocess.run(
        [*command, "merge_text", "--input", "none", "--output", "none"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.startswith("error: No module named")


@pytest.mark.parametrize(
    ("module", "found"), [(None, "is not installed"), ('__version__ = "4.57.1"', "is 4.57.1")]
)
def test_transformers_that_are_absent_or_too_old_are_one_line(module, found, tmp_path, root):
    """As where `pip install speechlm`, or its extra `hidden`, has brought what there is."""
    code = "import sys; from speechlm.bin.__main__ import main; main()"
    if module is None:
        code = f"import sys; sys.modules['transformers'] = None; {code}"
    else:
        (tmp_path / "transformers.py").write_text(module)
    (tmp_path / "torchaudio.py").touch()  # else it is imported, too
    done = subprocess.run(
        [sys.executable, "-c", code, "export_huggingface", "--input", "x", "--output", "y"],
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"needs the package transformers 5 or newer, which {found}" in done.stderr
    assert "pip install 'speechlm[hub]' brings it" in done.stderr
