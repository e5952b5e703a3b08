"""Docstrings: every public name has one, and all are written in one dialect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = {"exp", "data", "dump"}
"""Folders of a recipe that hold what it has made."""
FOREIGN = {
    "double backticks": re.compile("``"),
    "a role of Sphinx": re.compile(r":(func|meth|class|mod|attr):"),
    "fields of Sphinx": re.compile(r"^\s*:(param|returns?|raises?|type)\b", re.MULTILINE),
    "underlined headings": re.compile(r"^\s*-{4,}$", re.MULTILINE),
    "a first sentence of more than a line": re.compile(r"\A[^\n]+\n[^\n]"),
    "errors without `Raises:`": re.compile(
        r"\bRaises [A-Z]\w+|[.;:] [A-Z]\w*Error (if|for|unless|names|as|that)\b"
    ),
}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[Path]:
    """The Python files of the toolkit, tests aside."""
    for folder in ("speechlm", "tools", "egs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if folder != "egs" or path.relative_to(ROOT / folder).parts[1] not in RESULTS:
                yield path


def members(node: ast.Module | ast.ClassDef) -> dict[str, Definition]:
    """Classes and functions that are defined directly in a module or class."""
    return {child.name: child for child in node.body if isinstance(child, Definition)}


def inherits(module: ast.Module, owner: ast.AST, name: str) -> bool:
    """Whether a method overrides one of the same file that has a docstring."""
    classes = members(module)
    for base in owner.bases if isinstance(owner, ast.ClassDef) else ():
        overridden = classes.get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(overridden, ast.ClassDef):
            method = members(overridden).get(name)
            if method is not None and ast.get_docstring(method):
                return True
    return False


def undocumented(module: ast.Module, node: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public names in a module or public class that have no docstring."""
    for name, child in members(node).items():
        if name.startswith("_"):
            continue
        if not ast.get_docstring(child) and not inherits(module, node, name):
            yield f"{child.lineno}: {name}"
        if isinstance(child, ast.ClassDef):
            yield from undocumented(module, child)


def test_every_public_name_has_a_docstring() -> None:
    bare = []
    for path in sources():
        module = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(module):
            bare.append(f"{path.relative_to(ROOT)}: the file itself")
        bare += [f"{path.relative_to(ROOT)}:{place}" for place in undocumented(module, module)]
    assert not bare, "no docstring:\n" + "\n".join(bare)


def test_docstrings_are_of_one_dialect() -> None:
    foreign = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, ast.Module | Definition) else None
            for what, pattern in FOREIGN.items():
                if text and pattern.search(text):
                    line = getattr(node, "lineno", 1)
                    foreign.append(f"{path.relative_to(ROOT)}:{line}: {what}")
    assert not foreign, "not the dialect of this project:\n" + "\n".join(foreign)
