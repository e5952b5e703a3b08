"""tools/Dockerfile: what it copies is there, its shell is sound, and it runs as nobody's root.

No image is built here: that wants a daemon and a network.
"""

import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def instructions(root):
    """(instruction, its words) in order, lines joined and comments taken out."""
    text = (root / "tools" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def stages(instructions):
    starts = [n for n, (name, _) in enumerate(instructions) if name == "FROM"]
    return [instructions[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]


def test_what_is_copied_is_there(root, instructions):
    copied = [words.split()[:-1] for name, words in instructions if name == "COPY"]
    for sources in copied:
        if not sources[0].startswith("--from"):
            assert all((root / source).exists() for source in sources), sources


def test_the_installer_finds_what_it_reads(root, stages):
    """The first stage has the lock, the scripts and what setup.py opens; not yet the sources."""
    copied = {s for name, words in stages[0] if name == "COPY" for s in words.split()[:-1]}
    installer = (root / "tools" / "install.sh").read_text()
    read = set(re.findall(r"tools/[\w.]+\.(?:py|txt)", installer))
    assert {"tools/verify_install.py", "tools/requirements.lock.txt"} <= read <= copied
    opened = set(re.findall(r'"([\w.]+\.md)"', (root / "setup.py").read_text()))
    assert {"setup.py", "speechlm/__init__.py", "tools/install.sh"} | opened <= copied


def test_it_is_not_run_as_root_and_checks_itself(stages):
    last = dict(stages[-1])
    assert last["USER"] == "${USER_ID}:${GROUP_ID}" and "root" not in last["USER"]
    names = [name for name, _ in stages[-1]]
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))
    assert last["CMD"].split('"')[1::2] == ["make", "--directory=/opt/speechlm", "check"]
    assert ("ARG", "USER_ID=1000") in [tuple(i) for i in stages[-1]]


def test_commands_are_sound_shell(instructions):
    for name, words in instructions:
        if name == "RUN":
            done = subprocess.run(["bash", "-n", "-c", words], capture_output=True, text=True)
            assert done.returncode == 0, (words, done.stderr)


def test_what_was_made_here_is_not_sent(root):
    ignored = (root / "tools" / "Dockerfile.dockerignore").read_text().split("\n")
    made = [line.strip("/") for line in (root / ".gitignore").read_text().splitlines()]
    for folder in (".venv", "egs/*/data", "egs/*/dump", "egs/*/exp", "egs/*/downloads"):
        assert folder in made and folder in ignored
