"""Parallel steps under a launcher that a test made: words with blanks, and being told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = """#!{python}
import json, signal, sys, time
def cancel(*_):
    time.sleep(0.5)
    open("cancelled", "w").close()
    sys.exit(2)
signal.signal(signal.SIGTERM, cancel)
with open("words.new", "w") as file:
    json.dump(sys.argv[1:], file)
import os
os.rename("words.new", "words")
time.sleep(300)
"""


@pytest.fixture
def script(root, tmp_path):
    """Start parallel.sh with a launcher that waits, over a data directory of two utterances."""
    data, launcher = tmp_path / "data", tmp_path / "a launcher"
    data.mkdir()
    (data / "wav.scp").write_text("a-1 a.wav\na-2 b.wav\n")
    (data / "utt2spk").write_text("a-1 a\na-2 a\n")
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    places = (Path(sys.executable).parent, root / "tools", os.environ["PATH"])
    return subprocess.Popen(
        [
            root / "egs" / "TEMPLATE" / "parallel.sh",
            *("--data", data, "--nj", "2", "--output", tmp_path / "out", "--cmd"),
            f"'{launcher}' --config 'my conf/x' -q a\\ b",
            *("--", "cp", "a b", "JOB"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PATH": ":".join(map(str, places)), "PYTHONPATH": str(root)},
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_its_launcher_is_told_to_stop_and_waited_for(script, tmp_path, signum):
    """Also where only the script itself is told, as when step.py was killed."""
    deadline = time.monotonic() + 60
    while not (tmp_path / "words").exists():
        assert time.monotonic() < deadline and script.poll() is None
        time.sleep(0.02)
    words = (tmp_path / "words").read_text()
    assert words.startswith('["--config", "my conf/x", "-q", "a b", "JOB=1:2", ')
    assert words.endswith('"cp", "a b", "JOB"]')
    script.send_signal(signum)
    assert script.wait(timeout=60) == 143
    assert (tmp_path / "cancelled").exists()
