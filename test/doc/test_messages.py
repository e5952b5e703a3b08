"""The messages that doc/messages.md explains are those of the code."""

import ast
import re

import pytest

FOREIGN = "## Of other programs"
"""Where the page's messages of other programs begin."""


def template(node: ast.AST) -> str:
    """A string of the code, with `…` for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+.\d]*[sdgf]", "…", node.value)
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
