"""The rules of the layout, read from the imports of each file without running it.

Imports count wherever they stand: at the top, in a function, under `TYPE_CHECKING`, and as a
literal name given to `importlib.import_module`, `importlib.util.find_spec` or `__import__`.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "conventions": 0,
    "progress": 0,
    "data": 1,
    "kernels": 1,
    "models": 2,
    "lm": 2,
    "recognizer": 3,
    "checkpoints": 3,
    "decode": 4,
    "hub": 4,
    "tokenizers": 5,
    "score": 6,
    "tasks": 7,
    "pictures": 7,
    "superb": 8,
    "bin": 9,
}
"""Rooms of `speechlm` from the ground up; rooms on one floor do not import each other."""
PURE = {"kernels": {"conventions", "kernels"}, "models": {"conventions", "kernels", "models"}}
"""Rooms that need only torch, numpy and the standard library, and which rooms they may import."""
IN_TRITON = "speechlm.kernels.triton_"
"""Modules of such names need triton, which only torch's builds for GPUs bring; others import them
in functions."""
OPENS = ("speechlm.checkpoints", "speechlm.decode")
"""What `speechlm/__init__.py` may import, when somebody asks for it."""
IMPORTERS = ("import_module", "find_spec", "__import__")
Sources = Mapping[str, str]


@dataclass(frozen=True)
class Import:
    """Something that a file imports: `from module import name`, or `import module` (no name)."""

    module: str
    name: str = ""
    in_function: bool = False
    for_types: bool = False


def read_tree(root: Path) -> dict[str, str]:
    """Text of each Python file of the package, by path from `root`."""
    files = sorted((root / "speechlm").rglob("*.py"))
    return {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in files}


def module_of(path: str) -> str:
    """`speechlm/models/attention.py` -> `speechlm.models.attention`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str:
    """Second part of a module's name; empty for `speechlm` itself."""
    return (module.split(".") + [""])[1]


def imports_of(path: str, text: str) -> list[Import]:
    """All imports of a file."""
    package = module_of(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    return list(_imports(ast.parse(text), package))


def _imports(node: ast.AST, package: list[str], inside=False, types=False) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, "", inside, types) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield from (Import(module, alias.name, inside, types) for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node) in IMPORTERS and node.args:
        name = node.args[0]
        known = isinstance(name, ast.Constant) and isinstance(name.value, str)
        yield Import(name.value if known else "?", "", inside, types)
    inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        types = True
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, inside, types)


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def target(item: Import, sources: Sources) -> str:
    """The module of ours that an import reads; empty for other packages and for `__version__`."""
    if item.module.partition(".")[0] != "speechlm":
        return ""
    whole = f"{item.module}.{item.name}"
    if whole in {module_of(path) for path in sources}:
        return whole
    if item.module == "speechlm":
        return "" if item.name == "__version__" else "speechlm"
    return item.module


def complaints(sources: Sources) -> list[str]:
    """Every breach of the rules, as `file: what is wrong`."""
    found = []
    for path, text in sources.items():
        room = room_of(module_of(path))
        if room and room not in FLOORS:
            found.append(f"{path}: is in no known room; FLOORS of {Path(__file__).name} lists them")
            continue
        items = imports_of(path, text)
        for rule in (_floors, _espnet, _purity):
            found += [f"{path}: {what}" for item in items if (what := rule(path, item, sources))]
    return found + _circles(sources)


def _floors(path: str, item: Import, sources: Sources) -> str:
    room, other = room_of(module_of(path)), target(item, sources)
    if not room:
        late = item.in_function or item.for_types
        ours = other and other != "speechlm"
        if ours and not (late and other.startswith(OPENS)):
            allowed = " and ".join(OPENS)
            return f"imports {other}; it may import only {allowed}, and only in functions"
        return ""
    if other == "speechlm":
        return "imports speechlm; only speechlm.__version__ is for everybody"
    there = room_of(other)
    if not other or there == room:
        return ""
    if there not in FLOORS:
        return f"imports {other}, which is in no known room"
    if FLOORS[there] > FLOORS[room]:
        return f"imports up: {other} (floor {FLOORS[there]}) from floor {FLOORS[room]}"
    if FLOORS[there] == FLOORS[room]:
        return f"imports {other}, another room on the same floor"
    return ""


def _espnet(path: str, item: Import, sources: Sources) -> str:
    room = room_of(module_of(path))
    if room in ("tasks", "bin") and item.module == "?":
        return ""
    if item.module == "?":
        return "imports a module whose name is not written there"
    if room != "tasks" and item.module.partition(".")[0].startswith("espnet"):
        return f"imports {item.module}; only tasks imports ESPnet"
    return ""


def _purity(path: str, item: Import, sources: Sources) -> str:
    room = room_of(module_of(path))
    if room not in PURE:
        return ""
    other, top = target(item, sources), item.module.partition(".")[0]
    if other and room_of(other) not in PURE[room]:
        return f"imports {other}; {room} may import {', '.join(sorted(PURE[room]))}"
    within = module_of(path).startswith(IN_TRITON)
    if other.startswith(IN_TRITON) and not (item.in_function or within):
        return f"imports {other}, which needs triton, at once; it may do so only in functions"
    if top == "triton" and within:
        return ""
    if top not in {"speechlm", "torch", "numpy", "__future__", *sys.stdlib_module_names}:
        return f"imports {item.module}; {room} needs only torch and numpy"
    return ""


def _circles(sources: Sources) -> list[str]:
    """Circles among modules; what `speechlm` imports when asked to is no arrow."""
    arrows: dict[str, set[str]] = {}
    for path, text in sources.items():
        module = module_of(path)
        if module != "speechlm":
            targets = {target(item, sources) for item in imports_of(path, text)}
            arrows[module] = targets - {"", "speechlm"}
    found, done = [], set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(f"circle: {' -> '.join([*way[way.index(module) :], module])}")
        elif module not in done:
            for other in sorted(arrows.get(module, ())):
                visit(other, (*way, module))
            done.add(module)

    for module in sorted(arrows):
        visit(module, ())
    return found
