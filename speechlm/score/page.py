"""RESULTS.html: a report in Markdown as one page that needs nothing beside it, not even a network.

Pictures are in the page as data. Nothing in the report is taken for markup of HTML, and the page
says to the browser that it loads nothing and runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from markdown import Markdown
from markdown.extensions import Extension
from markdown.extensions.toc import TocExtension
from markdown.treeprocessors import Treeprocessor

_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?%)?( \[.*\])?( \(.*\))?|-|")
_LONG = 24
"""Characters of a cell that keeps a width of its own, not that of its longest word."""
_ESCAPED = "~$<&:|"
"""What `markdown.escape` may have a backslash before, and Python-Markdown does not know of."""
_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">To the results</a>
{heading}
<nav aria-label="Contents"><ul>
{contents}
</ul></nav>
<main id="main">
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def page(text: str, folder: str | os.PathLike[str], more: Mapping[str, str] | None = None) -> str:
    """A report as a page.

    Args:
        text: the report in Markdown.
        folder: from which its links to pictures go.
        more: HTML of further sections by heading, for the end.

    Returns:
        The page. A picture that is not there is named in its place.
    """
    converter = _converter(Path(folder))
    body = converter.convert(text)
    tokens: list[dict[str, Any]] = converter.toc_tokens
    sections = [part for token in tokens for part in token["children"]]
    contents = [(part["id"], part["name"]) for part in sections]  # names are escaped
    for number, (heading, part) in enumerate((more or {}).items(), 1):
        name = html.escape(heading)
        contents.append((f"more-{number}", name))
        body += f'\n<section>\n<h2 id="more-{number}">{name}</h2>\n{part}\n</section>'
    style, script = (
        Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js")
    )
    policy = (
        "default-src 'none'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    heading, ends, rest = body.partition("</h1>")
    return _FRAME.format(
        heading=heading + ends if ends else "",
        policy=policy,
        title=tokens[0]["name"] if tokens else "Results",
        contents="\n".join(f'<li><a href="#{name}">{shown}</a></li>' for name, shown in contents),
        body=rest if ends else body,
        style=style,
        script=script,
    )


def data_uri(kind: str, contents: bytes) -> str:
    """Bytes of a type such as `image/png` as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(contents).decode()}"


def _hash(text: str) -> str:
    """How a policy names the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _converter(folder: Path) -> Markdown:
    """Markdown with tables; HTML and entities in it are text."""
    converter = Markdown(extensions=["tables", TocExtension(marker=""), _Standalone(folder)])
    converter.preprocessors.deregister("html_block")
    for name in ("html", "entity", "autolink", "automail"):
        converter.inlinePatterns.deregister(name)
    converter.ESCAPED_CHARS.extend(c for c in _ESCAPED if c not in converter.ESCAPED_CHARS)
    # Its own serializer takes "&lt;" in a text for markup.
    converter.serializer = _serialize
    return converter


def _serialize(element: ElementTree.Element) -> str:
    return ElementTree.tostring(element, encoding="unicode", method="html")


class _Standalone(Extension):
    """Puts pictures into the page, and makes tables sortable and scrollable."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def extendMarkdown(self, md: Markdown) -> None:  # Python-Markdown's name
        """Called by Python-Markdown."""
        # Behind its own processors: inline marks (20), headings (5), escapes (0)
        md.treeprocessors.register(_Finish(md, self.folder), "standalone", -1)


class _Finish(Treeprocessor):
    """Changes the tree of the page."""

    def __init__(self, md: Markdown, folder: Path) -> None:
        super().__init__(md)
        self.folder = folder

    def run(self, root: ElementTree.Element) -> None:
        """Called by Python-Markdown."""
        for code in root.iter("code"):  # the only text that is escaped already
            code.text = html.unescape(code.text or "")
        for link in root.iter("a"):
            if _scheme(link.get("href", "")) not in ("", "http", "https"):
                del link.attrib["href"]
        for parent in list(root.iter()):
            for place, child in enumerate(list(parent)):
                if child.tag == "img":
                    self._picture(child)
                elif child.tag == "table":
                    parent[place] = _finish_table(child, _heading_before(parent, place))

    def _picture(self, image: ElementTree.Element) -> None:
        """Its bytes in place of its address; where there are none, its name as text."""
        source, name = image.get("src", ""), image.get("alt", "")
        contents = b""
        if source and not _scheme(source):
            with suppress(OSError, ValueError):  # no file, or no name that one could have
                contents = (self.folder / unquote(source)).read_bytes()
        if contents.startswith(_PNG):
            image.set("src", data_uri("image/png", contents))
            return
        tail = image.tail
        image.clear()
        image.tag, image.text, image.tail = "em", f"(picture {name or source}: not there)", tail


def _scheme(address: str) -> str:
    """What an address begins with, such as http; empty: a file, or a place in the page."""
    try:
        return urlsplit(address).scheme
    except ValueError:  # it is none
        return "invalid"


def _heading_before(parent: ElementTree.Element, place: int) -> str:
    """Text of the last heading before a child."""
    for child in reversed(list(parent)[:place]):
        if child.tag in ("h1", "h2", "h3"):
            return "".join(child.itertext())
    return "table"


def _finish_table(table: ElementTree.Element, name: str) -> ElementTree.Element:
    """A table in a box that scrolls; columns of numbers are marked as such."""
    rows = list(table.iter("tr"))
    columns = list(zip(*(list(row) for row in rows[1:]), strict=False))
    numbers = [all(_NUMBER.fullmatch(_text(cell)) for cell in column) for column in columns]
    for row in rows:
        for cell, is_number in zip(row, numbers, strict=False):
            cell.attrib.pop("style", None)
            if cell.tag == "th":
                cell.set("scope", "col")
            if is_number:
                cell.set("class", "number")
            elif len(_text(cell)) > _LONG:
                cell.set("class", "long")
    if len(rows) > 2:
        table.set("class", "sortable")
    box = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": name}
    outer = ElementTree.Element("div", box)
    outer.append(table)
    outer.tail, table.tail = table.tail, None
    return outer


def _text(cell: ElementTree.Element) -> str:
    return "".join(cell.itertext()).strip()
