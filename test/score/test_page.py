"""The report as a page: nothing in it is markup of its own, nothing is loaded, tables sort."""

import base64
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from speechlm.pictures.look import About, picture
from speechlm.score.markdown import escape, markdown_table
from speechlm.score.page import page

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><h1>x",
    "a|b",
    "*a* _b_ `c` ~~d~~ $e$",
    "&lt;b&gt; &amp;",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "<http://example.org> <a@example.org>",
    '" onload="x',
    "\\",
    "{placeholder} {0}",
]
_VOID = {"meta", "br", "img", "hr", "link", "input"}


class Reader(HTMLParser):
    """Tags with attributes, and texts of cells; complains of tags that do not fit."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.cells = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def report(*parts):
    return "\n\n".join(["# Title", *parts])


def test_names_and_sentences_are_text(tmp_path):
    """Whatever `escape` writes reads as it was; no tag comes of it."""
    rows = [[name, "1"] for name in HOSTILE]
    listed = "".join(f"- {escape(name)}\n" for name in HOSTILE)
    text = report("## Names", markdown_table(["name", "n"], rows), listed)
    plain = report("## Names", markdown_table(["name", "n"], [["x", "1"]] * len(rows)), "- x\n")
    made = Reader(page(text, tmp_path))
    assert made.cells[2::2] == HOSTILE
    kinds = {tag for tag, _ in Reader(page(plain, tmp_path)).tags}
    assert {tag for tag, _ in made.tags} == kinds
    assert sum(tag == "script" for tag, _ in made.tags) == 1
    assert not any(name.startswith("on") or name == "style" for _, a in made.tags for name in a)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_escaped_does_no_harm(name, tmp_path):
    """A report that somebody has edited, or a file that it includes."""
    made = Reader(page(report(f"## {name}", name, f"- {name}"), tmp_path))
    for tag, attributes in made.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for key, value in attributes.items():
            assert not key.startswith("on") and not (value or "").startswith("javascript:")
            if key == "src":
                assert value.startswith("data:")
    assert sum(tag == "script" for tag, _ in made.tags) == 1


def test_pictures_are_in_the_page(tmp_path):
    (tmp_path / "images").mkdir()
    with picture(tmp_path / "images" / "a b.png", About("", ""), 1, 1, 1):
        pass
    (tmp_path / "secret.txt").write_text("secret")
    text = report("## P", "![one](images/a%20b.png)", "![two](gone.png) and ![](secret.txt)")
    shown = page(text, tmp_path)
    images = [a for tag, a in Reader(shown).tags if tag == "img"]
    assert [image["alt"] for image in images] == ["one"]
    kind, data = images[0]["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "images" / "a b.png").read_bytes()
    assert "(picture two: not there)" in shown and "(picture secret.txt: not there)" in shown
    assert "secret</" not in shown and base64.b64encode(b"secret").decode() not in shown


def test_the_page_has_names_for_those_who_do_not_see_it(tmp_path):
    table = markdown_table(["system", "WER", "-"], [["a", "19.1 [1.0, 2.0]", "-"], ["b", "3", "x"]])
    shown = page(report("## Rates &amp; more", table), tmp_path, {"Listen": "<p>x</p>"})
    tags = Reader(shown).tags
    assert ("html", {"lang": "en"}) in tags and "<title>Title</title>" in shown
    heads = [a for tag, a in tags if tag == "th"]
    assert all(head["scope"] == "col" for head in heads)
    assert [head.get("class") for head in heads] == [None, "number", None]
    box = next(a for tag, a in tags if a.get("class") == "scroll")
    assert box["role"] == "region" and box["tabindex"] == "0"
    assert box["aria-label"] == "Rates &amp; more"
    assert shown.count("Rates &amp;amp; more") == 3  # heading, contents, name of the table
    ids = {a["id"] for _, a in tags if "id" in a}
    links = [a["href"] for tag, a in tags if tag == "a"]
    assert len(links) == 3 and {link.removeprefix("#") for link in links} <= ids


# In a real browser

SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).parents[1] / "browser.py")
browser = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(browser)
needs_browser = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no chromium here (apt-get install chromium)"
)
COLUMN = "[...document.querySelectorAll('tbody tr')].map(r => r.cells[{}].textContent)"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A browser with a page of a table and a picture."""
    folder = tmp_path_factory.mktemp("page")
    with picture(folder / "a.png", About("", ""), 1, 1, 1):
        pass
    rows = [["b", "19.1 [1.0, 2.0]"], ["c", "-"], ["a", "+3.9"], ["d", "1,000"], ["e", "-7.5"]]
    text = report("## Rates", markdown_table(["system", "WER"], rows), "![p](a.png)")
    (folder / "r.html").write_text(page(text, folder, {"More": "<script>document.x = 1</script>"}))
    with browser.browser() as window:
        window.open(folder / "r.html")
        yield window


@needs_browser
def test_tables_sort_by_mouse_and_by_keyboard(opened):
    def column(n):
        return opened.get(COLUMN.format(n))

    head = "th:nth-child(2)"
    sorting = f"document.querySelector({head!r}).getAttribute('aria-sort')"
    opened.click(f"{head} button")
    assert column(0) == ["e", "a", "b", "d", "c"] and opened.get(sorting) == "ascending"
    opened.click(f"{head} button")
    assert column(0) == ["d", "b", "a", "e", "c"] and opened.get(sorting) == "descending"
    opened.click(f"{head} button")
    assert column(0) == ["b", "c", "a", "d", "e"] and opened.get(sorting) is None
    opened.get("document.querySelector('.scroll').focus()")
    opened.press("Tab", 9)
    assert opened.get("document.activeElement.textContent") == "system"
    opened.press("Enter", 13)
    assert column(0) == list("abcde") and opened.get(sorting) is None


@needs_browser
def test_nothing_is_loaded_and_no_other_script_runs(opened):
    asked = [
        event["params"]["request"]["url"]
        for event in opened.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)
    assert sum(url.startswith("file:") for url in asked) == 1
    assert opened.get("document.x") is None  # a script that is not the page's
    assert opened.get("document.images[0].naturalWidth") > 0


@needs_browser
def test_dark_and_light(opened):
    def contrast():
        """Of text against paper, as WCAG defines it."""
        colors = opened.get("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
        values = [[int(v) / 255 for v in re.findall(r"\d+", color)[:3]] for color in colors]
        linear = [[((c + 0.055) / 1.055) ** 2.4 for c in value] for value in values]
        light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
        return (light[1] + 0.05) / (light[0] + 0.05), values[1][0]

    opened.emulate(prefers_color_scheme="light")
    light, paper = contrast()
    opened.emulate(prefers_color_scheme="dark")
    dark, night = contrast()
    assert light > 7 and dark > 7 and paper > 0.9 and night < 0.2


@needs_browser
def test_without_javascript_all_is_there(opened, tmp_path):
    text = report("## Rates", markdown_table(["system"], [["b"], ["a"]]))
    (tmp_path / "r.html").write_text(page(text, tmp_path))
    opened.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        opened.open(tmp_path / "r.html")
        assert opened.get(COLUMN.format(0)) == ["b", "a"]
        assert opened.get("document.querySelectorAll('button').length") == 0
    finally:
        opened.call("Emulation.setScriptExecutionDisabled", value=False)


@needs_browser
def test_a_narrow_window_scrolls_tables_and_not_the_page(opened, tmp_path):
    row = "".join(
        f'<td>WORD<ins><span class="unseen">more: </span>X{n}</ins></td>' for n in range(90)
    )
    table = (
        f'<div class="scroll"><table class="aligned"><tbody><tr>{row}</tr></tbody></table></div>'
    )
    text = report("## Rates", markdown_table([f"column {n}" for n in range(40)], [["1"] * 40]))
    (tmp_path / "r.html").write_text(page(text, tmp_path, {"More": table}))
    opened.open(tmp_path / "r.html")
    assert opened.get("document.querySelector('.scroll').scrollWidth > 2 * innerWidth")
    assert opened.get("document.documentElement.scrollWidth <= innerWidth")


@needs_browser
def test_long_cells_stay_wide_enough_to_read(opened, tmp_path):
    """Beside many columns of numbers; a long name is not a word a line."""
    weights = "ngram 0.5, neural 0.8686, word -2.75, replaced 0, blank 2"
    rows = [["system", *["12.5"] * 20, weights]]
    text = report("## Rates", markdown_table([*(f"column {n}" for n in range(21)), "w"], rows))
    (tmp_path / "r.html").write_text(page(text, tmp_path))
    opened.open(tmp_path / "r.html")
    assert opened.get("document.querySelector('td:last-child').offsetWidth >= 160")
    assert opened.get("document.querySelector('td').offsetWidth < 160")


@pytest.mark.parametrize(
    "address", ["http://[bad", "x" * 5000, "folder", "secret.png", "/dev/null/x.png", "%00.png"]
)
def test_addresses_that_are_none_do_no_harm(address, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret.png").symlink_to("secret.png")  # a link to itself cannot be read
    found = Reader(page(report(f"[link]({address})", f"![name]({address})"), tmp_path))
    assert "img" not in [tag for tag, _ in found.tags]
    assert "name: not there" in page(report(f"![name]({address})"), tmp_path)
