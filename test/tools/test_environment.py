"""The environment that tools/install.sh makes: what is complete in it, and torchaudio loads."""

import ast
import importlib.util
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, PathDistribution, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

TORCHAUDIO = {
    "__init__.py": "from . import _extension\n",
    "_extension/utils.py": "from pathlib import Path\n"
    "_LIB_DIR = Path(__file__).parents[1] / 'lib'\n"
    "def load(lib):\n    if any(_LIB_DIR.glob(f'{lib}*.so')):\n"
    "        raise OSError('libc10_cuda.so: cannot open shared object file')\n    return False\n",
    "_extension/__init__.py": "from .utils import load\nHAS_LIB = load('_torchaudio')\n",
    "lib/_torchaudio.abi3.so": "",
}
"""How torchaudio loads its compiled part."""


@pytest.fixture
def torchaudio(tmp_path):
    """A folder with a torchaudio whose compiled part does not load, and its record."""
    record = []
    for name, text in TORCHAUDIO.items():
        path = tmp_path / "torchaudio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        record.append(f"torchaudio/{name},,{len(text)}\n")
    (tmp_path / "torchaudio-1.dist-info").mkdir()
    (tmp_path / "torchaudio-1.dist-info" / "RECORD").write_text("".join(record))
    return tmp_path


@pytest.mark.parametrize(
    ("stamp", "torch", "gpu", "expected"),
    [
        (None, "", False, "cpu"),
        (None, "", True, "cuda"),
        (None, "cuda", False, "cuda"),
        ("torch cuda; 1 2 setup.py; /a", "", False, "cuda"),
        ("torch cuda; 1 2 setup.py; /a", "cpu", False, "cpu"),
        ("torch cpu; 1 2 setup.py; /a", "", False, "cpu"),
    ],
)
def test_the_build_of_torch(root, tmp_path, stamp, torch, gpu, expected):
    """A host without GPUs, which a cluster's jobs are submitted from, keeps what was asked for."""
    if stamp:
        (tmp_path / "stamp").write_text(f"{stamp}\n")
    script = (root / "tools" / "install.sh").read_text()
    function = script[script.index("choose_torch() {") : script.index("find_python() {")]
    listing = "echo GPU 0" if gpu else "false"
    code = f"stamp=stamp; nvidia-smi() {{ {listing}; }}; {function}\nchoose_torch"
    command = ["env", f"TORCH={torch}", "bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


def python(code, root, *paths):
    environment = {"PYTHONPATH": ":".join(map(str, [*paths, root])), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("before", ["", "import speechlm\n"], ids=["alone", "after_speechlm"])
def test_transformers_imports_its_classes_of_speech(root, before):
    """They import torchaudio, whose wheel is built for CUDA."""
    code = before + "from transformers import Wav2Vec2FeatureExtractor as F\n"
    done = python(code + "print(F().sampling_rate)", root)
    assert done.stdout == "16000\n", f"tools/install.sh mends this environment\n{done.stderr}"


def test_a_compiled_part_that_does_not_load_is_done_without(root, torchaudio):
    """In environments that were made by other means."""
    done = python("import torchaudio", root, torchaudio)
    assert done.returncode == 1 and "libc10_cuda.so" in done.stderr
    code = "from speechlm.checkpoints.torchaudio_cpu import import_torchaudio as load\nload()\n"
    code += "import sys, torchaudio\nassert not torchaudio._extension.HAS_LIB\n"
    done = python(code + "print(torchaudio.__file__)", root, torchaudio)
    assert done.stdout == f"{torchaudio}/torchaudio/__init__.py\n", done.stderr


@pytest.fixture(scope="module")
def verify(root):
    """The module tools/verify_install.py."""
    spec = importlib.util.spec_from_file_location("verify", root / "tools" / "verify_install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_taken_out_is_missing_beside_cuda_alone(verify, torchaudio):
    dist = PathDistribution(torchaudio / "torchaudio-1.dist-info")
    assert verify.is_complete(dist, "cpu") and verify.is_complete(dist, "cuda")
    (torchaudio / "torchaudio" / "lib" / "_torchaudio.abi3.so").unlink()
    assert verify.is_complete(dist, "cpu") and not verify.is_complete(dist, "cuda")
    (torchaudio / "torchaudio" / "_extension" / "utils.py").unlink()
    assert not verify.is_complete(dist, "cpu")


def test_the_lock_of_the_site_fits_the_toolkits_and_its_extra(root, verify):
    """It goes into the same environment, without a resolver."""
    base, more = (
        {
            canonicalize_name(package): version
            for package, version in verify.read_lock(root / "tools" / f"{name}.txt").items()
        }
        for name in ("requirements.lock", "requirements.docs")
    )
    assert not base.keys() & more.keys()
    setup = ast.parse((root / "setup.py").read_text(encoding="utf-8"))
    (extras,) = [
        ast.literal_eval(keyword.value)
        for node in ast.walk(setup)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "extras_require"
    ]
    for requirement in map(Requirement, extras["docs"]):
        assert requirement.specifier.contains(more[canonicalize_name(requirement.name)])


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("none/c++ -pthread", "compiled; missing here: a C++ compiler (none/c++ -pthread; Debian"),
        (sys.executable, "a package could not be installed, as said above\n"),
    ],
)
def test_what_lacks_to_compile_is_said(root, compiler, said):
    """pip's own words are a page of the compiler's."""
    script = (root / "tools" / "install.sh").read_text()
    function = script[script.index("die() {") : script.index("choose_torch() {")]
    start = script.index("die_of_packages() {")
    function += script[start : script.index("\n}\n", start) + 3]
    values = f"venv={Path(sys.executable).parents[1]} lock=tools/requirements.lock.txt"
    command = ["bash", "-euo", "pipefail", "-c", f"{values}\n{function}\ndie_of_packages"]
    env = {**os.environ, "CXX": compiler}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr


def test_headers_of_python_are_wanted(verify, monkeypatch):
    monkeypatch.setattr(verify.sysconfig, "get_path", lambda name: f"/none/{name}")
    monkeypatch.setenv("CXX", sys.executable)
    (lacking,) = verify.lacking_compiler()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert lacking.startswith("Python's headers (/none/include/Python.h; Debian")
    assert f"apt install python{version}-dev" in lacking


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0"])  # Debian 12 has 3.11.2
def test_what_is_locked_can_be_installed_on_each_python(root, verify, python):
    """The interpreter at hand may be a later one than the first that packages want."""
    refused = []
    for name in ("requirements.lock.txt", "requirements.docs.txt"):
        for package in verify.read_lock(root / "tools" / name):
            try:
                wanted = metadata(package)["Requires-Python"]
            except PackageNotFoundError:
                assert name == "requirements.docs.txt"  # the site's packages are an extra
                continue
            if wanted and python not in SpecifierSet(wanted):
                refused.append(f"{package}: {wanted}")
    assert refused == []


@pytest.mark.parametrize(
    ("there", "owner", "code", "said"),
    [
        (True, "other", 0, ""),
        (False, "other", 1, "and is not as tools/requirements.docs.txt says"),
        (False, "own", 0, "packages of tools/requirements.docs.txt"),
    ],
)
def test_packages_of_the_site_go_into_an_environment_of_ones_own(
    root, tmp_path, there, owner, code, said
):
    """Nothing is put into that of another checkout."""
    script = (root / "tools" / "install.sh").read_text()
    function = script[script.index("install_docs() {") : script.index("install_toolkit() {")]
    (tmp_path / "bin").mkdir()
    answer = "exit 0" if there else "[ -e installed ]"
    (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    place = tmp_path if owner == "own" else "/somewhere"
    (tmp_path / "stamp").write_text(f"torch cpu; 1 2; {place}\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "requirements.docs.txt").write_text("mkdocs==1\n")
    start = """venv=. stamp=stamp docs_lock=tools/requirements.docs.txt
say() { echo "$*"; }
die() { echo "$*" >&2; exit 1; }
pip_install() { touch installed; }
"""
    command = ["bash", "-euo", "pipefail", "-c", f"{start}{function}\ninstall_docs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and said in done.stdout + done.stderr
    assert (tmp_path / "installed").exists() == (owner == "own")
