"""doc/commands.md: complete, up to date, and made of what the mains say of themselves."""

import importlib.util
import subprocess
import sys
import types

import pytest

from speechlm.bin._cli import parser


@pytest.fixture(scope="module")
def commands(root):
    """The module tools/make_commands.py."""
    spec = importlib.util.spec_from_file_location(
        "make_commands", root / "tools" / "make_commands.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_commands"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_commands"]


@pytest.fixture
def pretend(monkeypatch, commands):
    """Function that puts a main beside the others: its description and its options."""

    def add(name: str, description: str, *options: tuple[str, dict]) -> None:
        def main() -> None:
            built = parser(description)
            for option, settings in options:
                built.add_argument(option, **settings)
            built.parse_args()
            pytest.fail("the parser was used")

        module = types.ModuleType(f"speechlm.bin.{name}")
        module.main = main
        monkeypatch.setitem(sys.modules, module.__name__, module)
        known = commands.names()
        monkeypatch.setattr(commands, "names", lambda: sorted([*known, name]))

    return add


def test_the_page_is_up_to_date(commands):
    made = commands.PAGE.read_text(encoding="utf-8")
    assert made == commands.page(), "python tools/make_commands.py makes doc/commands.md again"


def test_every_main_and_option_is_there_and_described(root, commands):
    files = {path.stem for path in (root / "speechlm" / "bin").iterdir() if path.suffix == ".py"}
    mains = {name for name in files if not name.startswith("_")}
    page = commands.PAGE.read_text(encoding="utf-8")
    for name in sorted(mains):
        assert page.count(f"### {name}\n") == 1, name
        command = commands.read_command(name)
        assert command.text.splitlines()[0].endswith("."), f"{name}: its docstring's first line"
        for action in command.parser._actions:
            assert action.help, f"{name}: {action.dest} has no help"


def test_a_new_main_changes_the_page(pretend, commands):
    pretend(
        "anew",
        "Stages 3 and 4: do it.\n\nWell.",
        ("--rate", {"type": int, "default": 0, "help": "50 %% | more"}),
        ("--kind", {"choices": ("a", "b"), "required": True, "help": "which"}),
        ("--quick", {"action": "store_true", "help": "less"}),
        ("files", {"nargs": "+", "help": "to read"}),
    )
    page = commands.page()
    assert page != commands.PAGE.read_text(encoding="utf-8")
    section = page.partition("### anew\n\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert section.startswith("Do it.\n\nWell.\n\nStages 3 and 4.\n")
    assert section.strip().splitlines()[-4:] == [
        "| `--rate RATE` | `0` | 50 % \\| more |",
        "| `--kind {a,b}` | required | which |",
        "| `--quick` |  | less |",
        "| `FILES ...` | required | to read |",
    ]
    assert page.index("## Stage 3") < page.index("### anew") < page.index("## Stage 4")
    assert "[anew](#anew)" in page.partition("## Stage 4")[2].partition("###")[0]


def test_a_main_without_stage_stands_beside_them(pretend, commands):
    pretend("anew", "Stage directions of a play.")
    page = commands.page()
    assert page.index("## Beside the stages") < page.index("### anew\n\nStage directions")


def test_a_stage_that_does_not_exist(pretend, commands):
    pretend("anew", "Stage 15: too far.")
    with pytest.raises(ValueError, match=r"anew\.py: no stage \[15\] in README"):
        commands.page()


def test_a_main_that_parses_nothing(monkeypatch, commands):
    module = types.ModuleType("speechlm.bin.anew")
    module.main = lambda: None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(ValueError, match="parses no options"):
        commands.parser_of("anew")


def test_check_as_a_program(root):
    """In a process of its own, where no test has imported anything before."""
    command = [sys.executable, root / "tools" / "make_commands.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
