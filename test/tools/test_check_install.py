"""What `make check` says of this machine and the recipes, and which Python the installer takes."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest


@pytest.fixture
def costs(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    return importlib.import_module("recipe_costs")


@pytest.fixture
def check(root, costs):
    return importlib.import_module("check_install")


def test_every_recipe_has_a_row_whose_parts_exist(root, costs, check):
    assert set(costs.RECIPES) == {path.parent.name for path in root.glob("egs/*/run.sh")}
    names = {part.name for part in check.PARTS}
    for cost in costs.RECIPES.values():
        assert set(cost.parts) <= names and cost.disk > 0 and cost.memory > 0


def test_the_reference_machine_takes_what_was_measured_there(costs):
    mini, cores = costs.RECIPES["mini"], costs.REFERENCE_CORES
    # RESULTS.md: `make mini` took 14.5 minutes
    assert 11 < 60 * costs.hours(mini, cores, costs.REFERENCE_GFLOPS, []) < 17
    twice = costs.hours(mini, 2 * cores, 2 * costs.REFERENCE_GFLOPS, [])
    assert twice == pytest.approx(costs.hours(mini, cores, costs.REFERENCE_GFLOPS, []) / 2)
    slow = costs.hours(mini, cores, costs.REFERENCE_GFLOPS / 4, [])
    assert slow == pytest.approx(4 * costs.hours(mini, cores, costs.REFERENCE_GFLOPS, []))


def test_large_recipes_want_gpus_and_more_of_them_are_faster(costs):
    cost = costs.RECIPES["librispeech"]
    assert costs.hours(cost, 64, 6000.0, []) is None
    one, eight = (costs.hours(cost, 64, 6000.0, [700e3] * n) for n in (1, 8))
    assert 60 < one < 85 and one / 8.5 < eight < one / 6
    assert costs.shown(None) == "wants GPUs"
    assert [costs.shown(h) for h in (0.01, 1.2, 20, 96)] == [
        "about 1 min",
        "about 72 min",
        "about 20 h",
        "about 4 days",
    ]


def test_what_is_missing_is_named(costs):
    cost = replace(costs.RECIPES["covost2"], disk=30.0, memory=16.0)
    assert costs.missing(cost, 100, 64, set()) == []
    found = costs.missing(cost, 10, 8, {"translation", "SUPERB"})
    assert found == [
        "disk (30 GB wanted, 10 free)",
        "memory (16 GB wanted, 8 there)",
        "packages of translation",
    ]


def test_the_report_names_machine_and_recipes(root):
    command = [sys.executable, root / "tools" / "check_install.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        r"torch  \d+\.\d+\.\d+\S*, (CPU|CUDA)",
        r"\d+ cores, \S",
        r"\d+ GiB memory, \d+ GB",
    ):
        assert re.search(words, done.stdout), (words, done.stdout)
    assert re.search(r"estimates, from products of \d+ GFLOP/s", done.stdout)
    assert re.search(r"mini +about \d+ (min|h) ", done.stdout)
    short = subprocess.run([*command, "--no_estimates"], capture_output=True, text=True)
    assert "estimates" not in short.stdout and "machine" in short.stdout


@pytest.mark.parametrize(
    ("version", "taken"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)]
)
def test_the_installer_takes_the_versions_that_the_lock_is_for(root, tmp_path, version, taken):
    """The interpreter is a script that runs the real one with another sys.version_info."""
    fake = tmp_path / "python"
    info = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0)"
    fake.write_text(f'#!/bin/bash\n{sys.executable} -c "{info}; ${{2#import sys; }}"\n')
    fake.chmod(0o755)
    script = (root / "tools" / "install.sh").read_text()
    function = script[script.index("die() {") : script.index("choose_torch() {")]
    function += script[script.index("find_python() {") : script.index("make_venv() {")]
    command = ["/bin/bash", "-euo", "pipefail", "-c", f"{function}\nfind_python"]
    env = {"PYTHON": str(fake), "PATH": "/nowhere"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if taken:
        assert done.stdout == f"{fake}\n", done.stderr
    else:
        assert done.returncode == 1 and "3.11 and 3.12" in done.stderr and "kenlm" in done.stderr


def test_classifiers_name_the_versions_that_the_installer_takes(root):
    classifiers = re.findall(r"Python :: (3\.\d+)", (root / "setup.py").read_text())
    installer = (root / "tools" / "install.sh").read_text()
    assert [f"{a}.{b}" for a, b in re.findall(r"\((\d), (\d+)\)", installer)] == classifiers
    assert all(f"Python {v}" in (root / "README.md").read_text() for v in classifiers[:1])


def test_what_make_docs_installs_is_no_reason_against_it(check, root):
    [part] = [part for part in check.PARTS if part.name == "site, notebook"]
    assert "docs: install-docs" in (root / "Makefile").read_text()
    assert "`make docs` installs them" in part.cost


def test_a_driver_that_hangs_holds_nothing_up(check, monkeypatch):
    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(check.subprocess, "run", hang)
    assert check.nvidia_smi("-L") == "" and not check.has_nvidia_gpu()
