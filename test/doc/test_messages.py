"""The messages that doc/messages.md explains, and the lines of doc/tutorial.md, are the code's."""

import ast
import re

import pytest

FOREIGN = "## Of other programs"
"""Where the page's messages of other programs begin."""


def template(node: ast.AST) -> str:
    """A string of the code, with `…` for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+.\d]*[sdgf]", "…", node.value).replace("%%", "%")
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    return "…"


@pytest.fixture(scope="module")
def said(root):
    """All strings of the package and the tools, and the lines of the scripts."""
    strings = set()
    for folder in ("speechlm", "tools"):
        for path in (root / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            strings |= {
                template(node)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr | ast.Constant)
            }
    for path in [*(root / "egs").glob("*/*.sh"), *(root / "tools").glob("*.sh")]:
        text = re.sub(r"\$\{[^}]*\}", "…", path.read_text(encoding="utf-8"))
        strings |= set(text.splitlines())
    return strings


def messages(page: str) -> list[str]:
    """What stands in backticks at the beginning of the page's rows, of this project's programs."""
    return re.findall(r"^\| `(.+?)` \|", page[: page.index(FOREIGN)], re.MULTILINE)


def is_said(message: str, strings: set[str]) -> bool:
    """Whether each part between two `…` is in one of the strings."""
    parts = [part.strip() for part in message.split("…")]
    parts = [part for part in parts if len(part) > 3]
    return bool(parts) and all(any(part in string for string in strings) for part in parts)


def test_messages_are_those_of_the_code(root, said):
    found = messages((root / "doc" / "messages.md").read_text(encoding="utf-8"))
    assert len(found) > 45
    assert [message for message in found if not is_said(message, said)] == []


def test_a_message_that_nobody_says_is_found(said):
    assert is_said("training stopped: … in epoch …", said)
    assert not is_said("training halted: … in epoch …", said)
    assert not is_said("… … …", said)


def is_printed(line: str, strings: set[str]) -> bool:
    """Whether a line is one of the strings, with any values for its `…`; `...` cuts it off."""
    begun, cut, _ = line.partition("...")
    for string in strings:
        parts = string.split("…")
        if sum(len(part.strip()) for part in parts) > 5 and len(parts) > 1:
            pattern = ".+".join(map(re.escape, parts))
            if cut and re.match(pattern.rpartition(".+")[0] or pattern, begun):
                return True
            if re.fullmatch(pattern, line):
                return True
    return False


def test_lines_of_the_tutorial_are_those_of_the_code(root, said):
    page = (root / "doc" / "tutorial.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    INFO (.+)$", page, re.MULTILINE)
    assert len(lines) > 8
    missing = [line for line in lines if not is_printed(line, said)]
    assert missing == []
    assert not is_printed("realigned: 88.8 % of the pages moved", said)


def test_the_python_code_of_the_tutorial_runs(root, chords, tmp_path, monkeypatch, capsys):
    page = (root / "doc" / "tutorial.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "dev").symlink_to(chords / "dev")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "tutorial.md", "exec"), {})
    name, _, labels = capsys.readouterr().out.partition(" ")
    assert name.startswith("spk") and labels.startswith("['SIL', ")
