"""Version, licence and citation agree wherever they are said."""

import re

import yaml

from speechlm import __version__


def test_citation(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    paper = citation["preferred-citation"]
    assert paper["authors"][0]["family-names"] == "Zhang" and paper["year"] == 2024
    assert "2209.15329" in (root / "README.md").read_text(encoding="utf-8")
    assert paper["identifiers"][0]["value"] == "arXiv:2209.15329"


def test_changelog_has_this_version_and_what_comes(root):
    versions = re.findall(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == "Unreleased" and __version__ in versions


def test_licence_is_the_one_that_the_package_names(root):
    setup = (root / "setup.py").read_text(encoding="utf-8")
    assert 'license="MIT"' in setup and 'license_files=["LICENSE"]' in setup
    assert (root / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
