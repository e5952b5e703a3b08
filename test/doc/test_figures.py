"""The figures of doc/method.md are those that tools/make_figures.py draws, and can be read."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

SVG = "{http://www.w3.org/2000/svg}"
WIDTHS = {"head": 8.6, "small": 6.6}
"""Pixels of a letter by kind of writing, on average and rounded up."""


@pytest.fixture(scope="module")
def drawn(root, tmp_path_factory):
    """Folder with the figures, drawn now."""
    folder = tmp_path_factory.mktemp("figures")
    command = [sys.executable, root / "tools" / "make_figures.py", "--output", folder]
    subprocess.run(command, check=True)
    return folder


def test_figures_are_up_to_date(root, drawn):
    names = {path.name for path in drawn.iterdir()}
    assert names == {path.name for path in (root / "doc" / "images").glob("*.svg")}
    for name in names:
        kept = (root / "doc" / "images" / name).read_text(encoding="utf-8")
        assert kept == (drawn / name).read_text(encoding="utf-8"), "python tools/make_figures.py"
        assert f"images/{name})" in (root / "doc" / "method.md").read_text(encoding="utf-8")


def test_writing_stays_in_its_box_and_in_the_figure(drawn):
    for path in drawn.iterdir():
        tree = ElementTree.parse(path).getroot()
        width, height = map(int, tree.attrib["viewBox"].split()[2:])
        boxes = [
            tuple(int(box.attrib[key]) for key in ("x", "y", "width", "height"))
            for box in tree.iter(f"{SVG}rect")
        ]
        assert len(boxes) > 10
        for text in tree.iter(f"{SVG}text"):
            x, y = int(text.attrib["x"]), int(text.attrib["y"])
            kinds = text.attrib["class"].split()
            long = max(WIDTHS.get(kind, 0) for kind in kinds) * len(text.text)
            half = long if "left" in kinds else long / 2
            assert 0 < y < height and half < width - x + 1, text.text
            for left, top, wide, high in boxes:
                if left < x < left + wide and top < y < top + high:
                    assert long < wide + 2, f"{path.name}: {text.text}"


def test_stages_are_those_of_the_readme(root, drawn):
    texts = ElementTree.parse(drawn / "stages.svg").getroot().iter(f"{SVG}text")
    numbers = {text.text for text in texts if text.text.isdigit()}
    rows = re.findall(r"^\| (\d+) ", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert numbers == set(rows) and len(rows) == 14
