"""The site of tools/make_site.py: links and anchors lead somewhere, nothing is from the network."""

import importlib.util
import logging
import re
import shutil
from html.parser import HTMLParser

import pytest

pytest.importorskip("mkdocs", reason="make test installs tools/requirements.docs.txt")
pytest.importorskip("material", reason="make test installs tools/requirements.docs.txt")

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}
"""Of an element: the attribute with what a browser fetches for it."""
SMALL = {
    "README.md": "# Small\n\n[more](doc/more.md#the-end), [API](api/data.md)\n",
    "doc/more.md": "# More\n\n## The end\n\nText.\n",
    "speechlm/__init__.py": '"""Small."""\n',
    "speechlm/data/__init__.py": '"""Files."""\n',
    "speechlm/data/files.py": 'def read():\n    """Reads `None`."""\n',
    "speechlm/decode/__init__.py": '"""Decoding."""\n',
    "speechlm/decode/pretrained.py": 'class SpeechLM:\n    """A model."""\n',
    "speechlm/decode/transcribe.py": 'class CTC:\n    """A model."""\n',
}
"""A project whose site has nothing wrong."""


@pytest.fixture(scope="module")
def make_site(root):
    """The module."""
    spec = importlib.util.spec_from_file_location("make_site", root / "tools" / "make_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(root, make_site, tmp_path_factory):
    """Folder of this project's site; building it checks every link and anchor."""
    place = tmp_path_factory.mktemp("site")
    make_site.build_site(root, place / "source", place / "site")
    return place / "site"


class Elements(HTMLParser):
    """Elements of a page, and the text of its paragraphs."""

    def __init__(self, page):
        super().__init__()
        self.found, self.paragraphs, self.within = [], [], False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "p":
            self.paragraphs.append("")
        self.within = tag == "p" or (self.within and tag in {"code", "a", "em", "strong"})

    def handle_endtag(self, tag):
        self.within = self.within and tag != "p"

    def handle_data(self, data):
        if self.within:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def pages(site):
    """{page: its elements}."""
    return {path: Elements(path) for path in sorted(site.rglob("*.html"))}


def test_pages_load_nothing_from_the_network(site, pages):
    loaded = {
        value
        for page in pages.values()
        for tag, attributes in page.found
        if tag in LOADED
        and attributes.get("rel") not in {"canonical", "prev", "next"}
        and (value := attributes.get(LOADED[tag]))
    }
    assert len(loaded) > 10
    assert not {name for name in loaded if re.match(r"([a-z]+:)?//", name)}
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", text), style


def test_what_pages_load_is_there(site, pages):
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of a server
            continue
        for tag, attributes in page.found:
            name = attributes.get(LOADED.get(tag, "")) or ""
            if name and not name.startswith("data:"):
                assert (path.parent / name.partition("?")[0]).exists(), f"{path}: {name}"


def test_lists_and_tables_are_shown_as_such(pages):
    """Python-Markdown wants a blank line before a list, where git hosts do without."""
    odd = [
        f"{path.name}: {text[:80]}"
        for path, page in pages.items()
        if "api" not in path.parts
        for text in page.paragraphs
        if re.search(r"\n\s*([-*] |\d+\. |\|)", text) or text.startswith("|")
    ]
    assert odd == []


def test_every_page_is_in_the_site_and_in_its_contents(root, site, make_site, pages):
    contents = {
        attributes.get("href")
        for tag, attributes in pages[site / "index.html"].found
        if tag == "a" and "md-nav__link" in attributes.get("class", "")
    }
    for page in make_site.pages(root):
        name = page.relative_to(root).with_suffix(".html").as_posix()
        if page.name == "README.md":
            name = page.parent.relative_to(root).joinpath("index.html").as_posix()
        assert (site / name).exists() and name in contents | {"index.html"}, name


def test_the_nav_names_every_page(root, make_site):
    """So that none is under "More"."""
    nav = (root / make_site.CONFIG).read_text(encoding="utf-8").partition("\nnav:")[2]
    named = re.findall(r"^ +- .+: (\S+\.md)$", nav, re.MULTILINE)
    pages = [str(page.relative_to(root)) for page in make_site.pages(root)]
    rooms = [f"api/{room.name}.md" for room in make_site.rooms(root)]
    notebooks = [str(f.relative_to(root).with_suffix(".md")) for f in root.glob("doc/*.ipynb")]
    assert sorted(named) == sorted([*pages, *notebooks, *rooms, "api/speechlm.md"])


def test_a_notebook_is_a_page_with_its_code(site, pages):
    page = pages[site / "doc" / "notebook.html"]
    ids = {attributes.get("id") for tag, attributes in page.found if tag == "h2"}
    assert {"the-model", "units", "what-it-writes"} <= ids
    text = re.sub("<[^>]+>", "", (site / "doc" / "notebook.html").read_text(encoding="utf-8"))
    assert "speechlm.SpeechLM.from_pretrained(MODEL)" in text
    assert (site / "doc" / "notebook.ipynb").exists()


def test_the_reference_has_what_users_open_and_every_module(root, make_site, pages, site):
    ids = {a["id"] for page in pages.values() for _, a in page.found if "id" in a}
    assert {
        "speechlm.decode.pretrained.SpeechLM.transcribe",
        "speechlm.decode.pretrained.SpeechLM.extract_features",
        "speechlm.models.config.SpeechLMConfig",
    } <= ids
    modules = {
        f"speechlm.{room.name}.{path.stem}"
        for room in make_site.rooms(root)
        for path in room.glob("[!_]*.py")
    }
    assert len(modules) > 200 and modules <= ids


def small(root, place, **changes):
    """A small project's folder, with some other files, and the configuration of this project."""
    for name, text in (SMALL | changes).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    config = (root / "doc" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    head, tail = config.index("\nnav:\n"), config.index("\nplugins:\n")
    nav = "\nnav:\n  - Home: README.md\n"
    (place / "doc" / "site").mkdir()
    (place / "doc" / "site" / "mkdocs.yml").write_text(config[:head] + nav + config[tail:])
    shutil.copyfile(root / "doc" / "site" / "site.css", place / "doc" / "site" / "site.css")
    return place


WRONG = {
    "link": ("README.md", "# Small\n\n[more](doc/less.md)\n", "doc/less.md"),
    "anchor": ("README.md", "# Small\n\n[more](doc/more.md#the-start)\n", "the-start"),
    "anchor_of_the_page": ("doc/more.md", "# More\n\n[up](#nowhere)\n", "nowhere"),
    "picture": ("doc/more.md", "# More\n\n![a](images/none.svg)\n\n## The end\n", "none.svg"),
    "reference": (
        "speechlm/data/files.py",
        'def read():\n    """Reads [this][speechlm.data.nothing]."""\n',
        "speechlm.data.nothing",
    ),
    "raises": (
        "speechlm/decode/pretrained.py",
        'class SpeechLM:\n    """A model.\n\n    Raises:\n        nothing.\n    """\n',
        "Failed to get",
    ),
}


def test_a_page_that_the_contents_do_not_name_stands_under_more(root, make_site, tmp_path):
    place = small(root, tmp_path / "project")
    make_site.build_site(place, tmp_path / "source", tmp_path / "site")
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "More" in index and 'href="doc/more.html"' in index
    assert "Reads" in (tmp_path / "site" / "api" / "data.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_ends_the_build(root, make_site, tmp_path, caplog, file, text, said):
    place = small(root, tmp_path / "project", **{file: text})
    with caplog.at_level(logging.WARNING), pytest.raises(SystemExit) as stopped:
        make_site.build_site(place, tmp_path / "source", tmp_path / "site")
    assert "what is wrong stands above" in str(stopped.value) and said in caplog.text
