"""The package as it is installed: built, unpacked, and run with its own requirements alone.

An environment of `install_requires` is made of this one: a finder hides every other package. Only a
fresh environment from a package index shows more, and takes minutes.
"""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata

import numpy as np
import pytest
import soundfile
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import speechlm
from speechlm import __version__
from speechlm.bin._cli import EXTRAS
from speechlm.data.kaldi_dir import DataDir, read_table

BUILD = """
from setuptools import build_meta
build_meta.build_wheel("../built")
build_meta.build_sdist("../built")
"""
CLEAN = """
import json, sys

class Allowed:
    '''A finder that finds the allowed packages alone.'''
    names = set(json.loads(sys.argv.pop(1))) | set(sys.stdlib_module_names) | {"speechlm"}

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in self.names or top.startswith("_sysconfigdata_"):
            return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Allowed, sys.meta_path)
"""
SHOW = """
print(tuple(features.shape), frames.tolist())
print([tuple(layer.shape) for layer in layers])
print(speechlm.__file__)
"""
RECORDINGS = "data/corpus/test/1091/10910"
"""Where README finds recordings in egs/mini."""
FRAMES = [25, 49]
"""Of half a second and of a second in one batch; the 25th is half padding."""
MADE = {"data", "dump", "exp", "downloads"}
"""Folders that recipes make."""


def ignored(folder, names):
    """Of a checkout, what is not in the project: what was made, and hidden files."""
    made = MADE if os.path.basename(os.path.dirname(folder)) == "egs" else {"build", "__pycache__"}
    if os.path.basename(folder) == "tools":
        made = made | {"bin"}
    ends = (".egg-info", ".pyc", ".idx")
    return {name for name in names if name[0] == "." or name in made or name.endswith(ends)}


@pytest.fixture(scope="module")
def built(root, tmp_path_factory):
    """(copy of the checkout, folder with its wheel and source distribution)."""
    place = tmp_path_factory.mktemp("package")
    shutil.copytree(root, place / "source", ignore=ignored)
    command = [sys.executable, "-c", BUILD]
    done = subprocess.run(command, cwd=place / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "source", place / "built"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Folder of the unpacked wheel."""
    place = tmp_path_factory.mktemp("installed")
    (wheel,) = built[1].glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


@pytest.fixture(scope="module")
def described(installed):
    """The wheel's metadata."""
    text = next(installed.glob("*.dist-info/METADATA")).read_text(encoding="utf-8")
    return email.message_from_string(text)


def installed_names():
    """Names of what is installed here, without the copies that setuptools puts on a path."""
    found = metadata.distributions(path=[sysconfig.get_path("purelib")])
    return {canonicalize_name(distribution.name) for distribution in found}


def packages_of(requirements, extra=""):
    """Top-level names of what the requirements install, with their own requirements."""
    here = installed_names()
    waiting, seen = [(requirement, extra) for requirement in requirements], set()
    while waiting:
        requirement, wanted = waiting.pop()
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if name in seen or (marker and not marker.evaluate({"extra": wanted})):
            continue
        seen.add(name)
        if name in here:  # the lock file leaves out what nothing here imports
            waiting += [(Requirement(line), "") for line in metadata.requires(name) or []]
    return {
        package
        for package, names in metadata.packages_distributions().items()
        if {canonicalize_name(name) for name in names} & seen
    }


@pytest.fixture(scope="module")
def clean(installed, described):
    """Function that runs code with the wheel and what it requires; other packages are hidden."""
    allowed = packages_of(map(Requirement, described.get_all("Requires-Dist")))
    assert {"torch", "numpy", "yaml", "safetensors", "soundfile", "soxr", "kaldiio"} <= allowed
    hidden = {"espnet2", "scipy", "transformers", "torchaudio", "sentencepiece", "typeguard"}
    assert not allowed & hidden

    def run(code, *words, cwd, more=()):
        names = json.dumps(sorted(allowed.union(more)))
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CLEAN + code, names, *words],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_other_packages_are_hidden(clean, tmp_path):
    done = clean("import scipy", cwd=tmp_path)
    assert done.returncode == 1 and "No module named 'scipy'" in done.stderr


def test_the_python_code_of_the_readme_runs(
    root, clean, installed, tmp_path, model_folder, save_fine_tuning
):
    """Block after block, in a folder that has what it opens: a pre-training, a CTC model."""
    blocks = re.findall(r"^```python\n(.*?)^```", (root / "README.md").read_text(), re.S | re.M)
    assert len(blocks) == 2
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "pretrain_speech_text").symlink_to(model_folder())
    save_fine_tuning(model_folder(), tmp_path / "exp" / "asr_speech_text")
    random = np.random.default_rng(0)
    (tmp_path / RECORDINGS).mkdir(parents=True)
    for i, samples in enumerate((8000, 16000)):
        path = tmp_path / RECORDINGS / f"1091-10910-000{i}.flac"
        soundfile.write(path, 0.1 * random.standard_normal(samples), 16000)
    done = clean("".join(blocks) + SHOW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, seconds, shapes, layers, place = done.stdout.splitlines()
    assert seconds == "0.02"
    assert shapes == f"(2, 49, 32) {FRAMES}"
    assert layers == str([(2, 49, 32)] * 4)
    assert place == f"{installed}/speechlm/__init__.py"


def test_every_program_starts_where_its_packages_are_not(clean, installed, tmp_path):
    """`--help` of each; and what is missing is named, with the extra that has it."""
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    module, function = re.search(r"^speechlm = ([\w.]+):(\w+)$", entry.read_text(), re.M).groups()
    start = f"from {module} import {function}, programs\n"
    helps = """
import contextlib, io
for name in programs():
    sys.argv = ["speechlm", name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as stopped:
            assert stopped.code == 0 and out.getvalue().startswith(f"usage: speechlm {name} ")
assert "torch" not in sys.modules
print(len(programs()))
"""
    done = clean(start + helps, cwd=tmp_path)
    assert done.returncode == 0 and int(done.stdout) > 50, done.stderr
    train = ("train_lm", "--text", "a", "--dev_text", "b", "--lexicon", "c", "--output", "d")
    done = clean(start + "main()", *train, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No module named '")
    assert "pip install 'speechlm[espnet]' brings it, and pip install --no-deps " in done.stderr


RUN = """
from speechlm.bin.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["speechlm", *words]
    try:
        main()
    except SystemExit as stopped:
        assert stopped.code == 0, f"{words[0]}: {stopped.code}"
"""


def test_models_are_used_without_other_packages(
    clean, tmp_path, model_folder, save_fine_tuning, chords
):
    """Features, greedy transcripts of a data directory and of a file, the authors' form."""
    pretrained = model_folder()
    tuned, data = save_fine_tuning(pretrained, tmp_path / "asr"), DataDir.read(chords / "dev")
    audio = data.wav[data.ids[0]]
    model, corpus = ("--model", tuned), ("--data_dir", chords / "dev")
    steps = [
        ("transcribe", *model, audio),
        ("decode_ctc", *model, *corpus, "--output", "decoded"),
        ("emissions", *model, *corpus, "--output", "emissions"),
        ("extract_features", *model, *corpus, "--output", "features"),
        ("export_checkpoint", "--input", pretrained, "--output", "exported.pt"),
        ("import_checkpoint", "--input", "exported.pt", "--output", "imported"),
    ]
    done = clean(RUN, json.dumps(steps, default=str), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = read_table(tmp_path / "decoded" / "text")
    assert text.keys() == data.wav.keys() and done.stdout == f"{text[data.ids[0]]}\n" != "\n"
    assert features(tmp_path / "imported") == features(pretrained) == features(tuned)


def features(folder):
    """Of a second of a chirp, as bytes."""
    wave = torch.sin(torch.arange(16000)[None] ** 1.2)
    found, _ = speechlm.SpeechLM.from_pretrained(folder).extract_features(wave)
    return found.numpy().tobytes()


def test_extras_have_the_modules_that_messages_name(described):
    ours = [Requirement(line) for line in described.get_all("Requires-Dist")]
    known = metadata.packages_distributions()
    for extra, modules in EXTRAS.items():
        own = [r.name for r in ours if r.marker and r.marker.evaluate({"extra": extra})]
        names = {canonicalize_name(name) for name in own}
        for module in modules:
            found = {canonicalize_name(name) for name in known[module]}
            assert found & names or found == {"espnet"}, module


def test_trainings_are_imported_with_espnet_and_its_extra(
    root, clean, installed, described, tmp_path
):
    """ESPnet as `pip install --no-deps` brings it; the recogniser has an extra of its own."""
    ours = map(Requirement, described.get_all("Requires-Dist"))
    more = packages_of(ours, "espnet") | {"espnet", "espnet2"}
    assert "setuptools" in more
    more.add("distutils")  # which it brings where Python has none, from 3.12 on
    assert not more & {"kaldifst", "transformers", "sacrebleu"}
    paths = (root / "speechlm" / "tasks").glob("[!_]*.py")
    modules = sorted(path.stem for path in paths if "phone_model" not in path.stem)
    code = "import importlib\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    names = [f"speechlm.tasks.{name}" for name in modules]
    done = clean(code + "print(sys.modules[name].__file__)", *names, cwd=tmp_path, more=more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{installed}/speechlm/tasks/{modules[-1]}.py"


def test_the_wheel_has_all_of_the_package(built, installed):
    source = built[0] / "speechlm"
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    there = [
        path.relative_to(installed / "speechlm") for path in installed.rglob("speechlm/**/*.*")
    ]
    found = {path for path in there if "__pycache__" not in path.parts}  # of programs that ran
    assert found == files and len(files) > 250
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"speechlm"}


def test_the_source_distribution_has_all_of_the_project(built):
    source, folder = built
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        found = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
        programs = {m.name.partition("/")[2] for m in archive.getmembers() if m.mode & 0o100}
    made = {"PKG-INFO", "setup.cfg"}
    found = {name for name in found if name not in made and ".egg-info/" not in name}
    files = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()}
    files = {name for name in files if ".egg-info/" not in name and not name.startswith("build/")}
    assert found == files
    assert {"egs/mini/run.sh", "tools/install.sh"} <= programs


def test_what_an_index_shows(described):
    assert described["Version"] == __version__ and described["Name"] == "speechlm"
    assert "MIT" in (described["License"] or described["License-Expression"])
    assert described["Description-Content-Type"] == "text/markdown"
    page = described.get_payload()
    links = re.findall(r"\]\(([^)\s]+)\)", page)
    assert page.startswith("# SpeechLM\n") and len(links) > 2
    assert not [link for link in links if not link.startswith("https://")]
    assert "doc/decoding.md" in page
    for url in described.get_all("Project-URL"):
        assert re.fullmatch(r"[A-Z]\w+, https://\S+", url)


def test_the_extra_espnet_has_what_espnet_needs(described):
    """What ESPnet asks for and the lock file has; ESPnet itself goes in without a resolver."""
    ours = [Requirement(line) for line in described.get_all("Requires-Dist")]
    extra = {canonicalize_name(r.name): r for r in ours if "espnet" in str(r.marker or "")}
    always = {canonicalize_name(r.name) for r in ours if r.marker is None}
    theirs = map(Requirement, metadata.requires("espnet"))
    here = installed_names()
    needed = {canonicalize_name(r.name) for r in theirs if r.marker is None} & here
    assert len(needed) > 15 and needed <= extra.keys() | always
    for name, requirement in extra.items():
        assert requirement.specifier.contains(metadata.version(name)), requirement
    assert "espnet" not in extra
