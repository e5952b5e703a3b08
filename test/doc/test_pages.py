"""What the pages name exists: files, links, modules, functions, tests, commands."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("doc/*.md"), *ROOT.glob("egs/*/*.md")])
EXPLAIN = ("architecture", "extending", "paper_map", "speed")
"""Pages of doc/ whose every name of a class or function is looked up."""
ROOMS = {path.parent.name for path in ROOT.glob("speechlm/*/__init__.py")}
MADE = {"data", "dump", "exp", "downloads"}
"""Folders that recipes make."""
FILE = re.compile(r"\.(md|sh|yaml|json|txt|tsv|png|pth|scp|npz|ark|safetensors)$")
"""A name that is a file's, not of Python."""
PLACEHOLDER = re.compile(r"[A-Z]{3,}|[*]")
"""In a path: a word that stands for others, as NAME or JOB does."""
FOREIGN = {
    "DataLoader",
    "HubertModel",
    "SpeechLM.py",
    "ValueError",
    "all_gather",
    "found_inf",
    "iterator_stop",
    "label_smoothed_loss_sum",
}
"""Names of other programs, and of a reference tensor."""
BY_RULE = r"RESULTS_\w+\.md|.+\.report\.txt"
"""Names of files that a program puts together."""
OURS = [path for path in PAGES if path.name not in {"CHANGELOG.md", "traps.md"}]
"""Pages that name nothing but what is there; the others have former names, and the authors'."""
SNAKE = r"_?[a-z][a-z0-9]*(?:_[a-z0-9]+)+"
"""A name with an underscore inside: a function, a module, an option, a key."""


def page_id(path: Path) -> str:
    """How a page is called in the list of tests."""
    return str(path.relative_to(ROOT))


@pytest.fixture(params=PAGES, ids=page_id)
def page(request) -> Path:
    """Each page in turn."""
    return request.param


def without_blocks(text: str) -> str:
    """The text without fenced and indented code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


class Names:
    """The names that some files, or those under some folders, define."""

    def __init__(self, *folders: str) -> None:
        self.modules: dict[str, list[Path]] = defaultdict(list)
        self.defined: set[str] = set()
        self.members: dict[str, set[str]] = defaultdict(set)
        """Of a module (by its stem) or a class."""
        self.bases: dict[str, set[str]] = defaultdict(set)
        for folder in folders:
            paths = [ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py")
            for path in sorted(paths):
                if not set(path.relative_to(ROOT).parts) & MADE - {"data"}:
                    self.read(path)

    def read(self, path: Path) -> None:
        """Add a file's."""
        self.modules[path.stem].append(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self.members[path.stem] |= self.add(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self.members[node.name] |= self.add(node)
                self.bases[node.name] |= {ast.unparse(b).split(".")[-1] for b in node.bases}

    def has(self, owner: str, name: str) -> bool:
        """Whether a module or class, or a base of the class, defines a name."""
        if name in self.members.get(owner, ()):
            return True
        return any(self.has(base, name) for base in self.bases.get(owner, set()) - {owner})

    def add(self, scope: ast.AST) -> set[str]:
        """The names defined in the body of a module or class."""
        names = set()
        for node in ast.walk(scope):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node is not scope:
                names.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
        self.defined |= names
        return names


@pytest.fixture(scope="module")
def code() -> Names:
    """Names of the package, the tools and the recipes."""
    return Names("speechlm", "tools", "egs")


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """Names of all test files and test functions."""
    found = Names("test")
    return {name for name in {*found.modules, *found.defined} if name.startswith("test_")}


def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, target


def test_files_exist(page):
    tops = "speechlm|egs|tools|test|doc|conf"
    text = page.read_text(encoding="utf-8")
    for word in re.findall(rf"(?<![\w/.<>-])(?:{tops})/[\w./{{}},*-]+", text):
        parts = word.rstrip(".,/").split("/")
        if PLACEHOLDER.search(re.sub(r"TEMPLATE|RESULTS\.md|README\.md", "", word)):
            continue
        if set(parts) & MADE and parts[0] == "egs":
            continue
        for path in expand("/".join(parts)):
            where = [ROOT, ROOT / "egs" / "TEMPLATE"]
            assert any((folder / path).exists() for folder in where), word


def expand(word: str) -> list[str]:
    """a{b,c} -> ab, ac."""
    match = re.search(r"\{([^{}]*)\}", word)
    if match is None:
        return [word]
    start, end = word[: match.start()], word[match.end() :]
    return [path for part in match[1].split(",") for path in expand(start + part + end)]


@pytest.fixture(scope="module")
def sources() -> str:
    """The text of all programs and scripts."""
    paths = [p for folder in ("speechlm", "tools", "egs") for p in (ROOT / folder).rglob("*.*")]
    return "\n".join(p.read_text(encoding="utf-8") for p in paths if p.suffix in {".py", ".sh"})


def test_files_that_recipes_make_are_named_by_a_program(sources):
    """What pages say to look at below data, dump and exp."""
    found, missing = 0, []
    for page in OURS:
        for span in spans(page.read_text(encoding="utf-8")):
            for path in re.findall(r"(?<![\w/.-])(?:data|dump|exp)/[\w./{}*-]+", span):
                name = Path(path).name
                if FILE.search(name) and not re.fullmatch(BY_RULE, name):
                    found += 1
                    drawn = f"draw {Path(name).stem} " in sources
                    missing += [] if name in sources or drawn else [f"{page.name}: {path}"]
    assert not missing
    assert found > 30


def test_commands_exist():
    scripts = [*ROOT.glob("egs/*/*.sh"), *ROOT.glob("egs/*/local/*.sh"), *ROOT.glob("tools/*.sh")]
    named = set()
    for path in [*PAGES, *scripts]:
        pattern = r"speechlm\.bin\.([a-z]\w*)"
        if path.suffix == ".md":
            pattern += r"|`bin/([a-z]\w*)|^ {4}speechlm ([a-z]\w*)|`speechlm ([a-z]\w*)"
        for found in re.finditer(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
            named.add((found[found.lastindex], path))
    assert len(named) > 50
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for name, path in named
        if not (ROOT / "speechlm" / "bin" / f"{name}.py").exists()
    ]
    assert not missing


def test_tests_exist(page, tests):
    text = page.read_text(encoding="utf-8")
    missing = set(re.findall(r"(?<![-\w])test_[a-z0-9]\w*", text)) - tests
    assert not missing
    for folder, name in re.findall(r"\b(\w+)/(test_[a-z0-9]\w*)", text):
        home = ROOT if folder == "test" else ROOT / "test"
        assert (home / folder / f"{name}.py").exists(), f"{folder}/{name}"


def resolves(name: str, code: Names) -> bool:
    """Whether `a.b.c` ends in a module, a class or function, or a member of one."""
    parts = name.removesuffix("()").removeprefix("speechlm.").split(".")
    if parts[0] in ROOMS and len(parts) > 1:
        room = ROOT / "speechlm" / parts[0]
        if not (room / f"{parts[1]}.py").exists():
            return re.search(rf"\b{parts[1]}\b", (room / "__init__.py").read_text()) is not None
        parts = parts[1:]
    return resolves_member(parts, code)


def resolves_member(parts: list[str], code: Names) -> bool:
    """The same below a room."""
    *before, last = parts
    if not before:
        return last in code.defined or last in code.modules
    owner = before[-1]
    if owner in code.members:
        return code.has(owner, last)
    return owner in ROOMS | {"speechlm"} and (last in code.modules or last in ROOMS)


def is_name(word: str, code: Names) -> bool:
    """Whether a word claims to be a module, class or function of this project."""
    if word in FOREIGN or FILE.search(word):
        return False
    if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z]+[a-z]*)+(?:\.\w+)*(?:\(\))?", word):
        return True
    first = word.partition(".")[0]
    known = first in code.modules or first in ROOMS | {"speechlm"}
    return known and re.fullmatch(r"\w+(\.\w+)+(\(\))?", word) is not None


@pytest.fixture(scope="module")
def written() -> set[str]:
    """All names with an underscore in the sources and the tests: in code, YAML and shell."""
    names: set[str] = set()
    for folder in ("speechlm", "tools", "egs", "test"):
        for path in (ROOT / folder).rglob("*.*"):
            if set(path.relative_to(ROOT).parts) & MADE - {"data"} or path == Path(__file__):
                continue
            if path.suffix in {".py", ".sh", ".yaml"}:
                names |= set(re.findall(rf"\b{SNAKE}\b", path.read_text(encoding="utf-8")))
    return names


@pytest.mark.parametrize("page", OURS, ids=page_id, indirect=True)
def test_names_with_underscores_occur_in_the_sources(page, written):
    words = re.split(r"[\s,]+", " ".join(spans(page.read_text(encoding="utf-8"))))
    names = {word.removesuffix("()") for word in words}
    missing = {name for name in names if re.fullmatch(SNAKE, name)} - written - FOREIGN
    assert not missing


def test_names_are_in_the_files_that_are_said_to_have_them():
    """`NAME` in `FILE`, or of it."""
    found, missing = 0, []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        pattern = r"`([\w.]+)`\s+(?:in|of)\s+`((?:speechlm|tools|test)/[\w/]+\.py)`"
        for name, file in re.findall(pattern, text):
            defined = Names(file)
            found += 1
            missing += [] if set(name.split(".")) <= defined.defined else [f"{name} in {file}"]
    assert not missing
    assert found > 10


@pytest.mark.parametrize("name", EXPLAIN)
def test_names_of_code_exist(name, code):
    found, missing = 0, []
    for span in spans((ROOT / "doc" / f"{name}.md").read_text(encoding="utf-8")):
        for word in re.split(r"[\s,]+", span):
            head, _, tail = word.rpartition("/")
            room = head.removeprefix("speechlm/") in ROOMS
            if room and re.fullmatch(r"[a-z_]+(\.[A-Za-z_]+)*", tail.removesuffix(".py")):
                module, _, member = tail.removesuffix(".py").partition(".")
                folder = ROOT / "speechlm" / head.removeprefix("speechlm/")
                there = (folder / f"{module}.py").exists() and (
                    not member or resolves(f"{module}.{member}", code)
                )
                if head != "data" or (folder / f"{module}.py").exists() or member:
                    found += 1
                    missing += [] if there or module.startswith("test_") else [word]
            elif is_name(word, code):
                found += 1
                missing += [] if resolves(word, code) else [word]
    assert not missing
    assert found > 3


def test_the_map_names_functions_that_exist(code):
    """The second column of every table of the paper map."""
    rows = re.findall(r"^\|[^|]+\|([^|]+)\|", (ROOT / "doc/paper_map.md").read_text(), re.MULTILINE)
    names = [s for cell in rows for s in re.findall(r"`([\w./]+)`", cell)]
    assert len(names) > 60
    missing = []
    for name in names:
        *folder, last = name.split("/")
        if name.startswith("egs/"):
            there = (ROOT / name).exists()
        elif folder:
            module = ROOT / "speechlm" / Path(*folder) / f"{last.partition('.')[0]}.py"
            there = module.exists() and ("." not in last or resolves(last, code))
        else:
            there = resolves(name, code)
        missing += [] if there else [name]
    assert not missing
