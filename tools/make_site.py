#!/usr/bin/env python3
"""Builds the documentation site from README.md, doc/, the recipes' pages and docstrings.

`make docs` calls it. Pages keep the places that they have in the project, so that a link in a page
leads to the same place in an editor, on a git host and on the site. Anything that is wrong with a
page (a link, an anchor, a reference of a docstring) ends the build. The network is not asked, and
nothing in the pages is loaded from it.
"""

import argparse
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "doc/site/mkdocs.yml"
OPENED = ("speechlm.decode.pretrained.SpeechLM", "speechlm.decode.transcribe.CTC")
"""What users open, under its short names `speechlm.SpeechLM` and `speechlm.CTC`."""


def pages(root: Path) -> list[Path]:
    """Return the pages of the project."""
    return sorted([*root.glob("*.md"), *root.glob("doc/*.md"), *root.glob("egs/*/*.md")])


def linked_files(page: Path) -> Iterator[Path]:
    """Yield the files of the project that a page links to or shows, other than folders."""
    for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if not re.match(r"[a-z]+:", target) and path.is_file():
            yield path


def copy_pages(root: Path, source: Path) -> None:
    """Copy the pages, what they link to and the style sheets into a folder, each to its place."""
    files = {*pages(root), *root.glob("doc/site/*.css")}
    for page in pages(root):
        files.update(linked_files(page))
    for file in sorted(files):
        place = source / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def notebook_page(notebook: Path) -> str:
    """Return a notebook as a page: its texts, and its cells as code, without what they print."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    texts = [
        c.source if c.cell_type == "markdown" else f"```python\n{c.source}\n```" for c in cells
    ]
    note = f"*The text of [{notebook.name}]({notebook.name}), which runs in Jupyter.*"
    return "\n\n".join([texts[0], note, *texts[1:]]) + "\n"


def write_notebooks(root: Path, source: Path) -> None:
    """Write a page beside each notebook."""
    for notebook in root.glob("doc/*.ipynb"):
        page = source / notebook.relative_to(root).with_suffix(".md")
        page.write_text(notebook_page(notebook), encoding="utf-8")


def rooms(root: Path) -> list[Path]:
    """Return the packages whose modules are in the reference; `bin` is doc/commands.md."""
    found = sorted(path.parent for path in root.glob("speechlm/*/__init__.py"))
    return [room for room in found if room.name != "bin"]


def room_page(room: Path) -> str:
    """Return the page of a package: its docstring, then each of its modules."""
    name = f"speechlm.{room.name}"
    modules = sorted(path.stem for path in room.glob("[!_]*.py"))
    head = f"# {name}\n\n::: {name}\n    options: {{members: false, show_root_heading: false}}\n"
    return head + "".join(f"\n::: {name}.{module}\n" for module in modules)


def write_reference(root: Path, source: Path) -> None:
    """Write a page for each package, and one for what users open."""
    folder = source / "api"
    folder.mkdir(parents=True)
    for room in rooms(root):
        (folder / f"{room.name}.md").write_text(room_page(room), encoding="utf-8")
    text = "# What users open\n\n`speechlm.SpeechLM` and `speechlm.CTC`, under their full names.\n"
    for name in OPENED:
        text += f"\n::: {name}\n    options: {{inherited_members: true}}\n"
    (folder / "speechlm.md").write_text(text, encoding="utf-8")


def title(page: Path) -> str:
    """Return the first heading of a page."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{page}: no heading '# ...' was found; a page begins with its title")
    return found[1]


def named(nav: list | dict | str) -> Iterator[str]:
    """Yield the files that a part of mkdocs' `nav` names."""
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from named(item)


def more_pages(nav: list, source: Path) -> list[dict[str, str]]:
    """Return {title: file} of each page that `nav` does not name."""
    left = {str(path.relative_to(source)) for path in source.rglob("*.md")} - set(named(nav))
    return [{title(source / name): name} for name in sorted(left)]


def build_site(root: Path, source: Path, site: Path) -> None:
    """Build the site.

    Args:
        root: The project's folder.
        source: Folder for the pages as they go into the build; made anew.
        site: Folder for the site; made anew.

    Raises:
        SystemExit: Something is wrong with a page, as the messages before it say.
    """
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    shutil.rmtree(source, ignore_errors=True)
    copy_pages(root, source)
    write_notebooks(root, source)
    write_reference(root, source)
    config = load_config(str(root / CONFIG), docs_dir=str(source), site_dir=str(site), strict=True)
    more = more_pages(config["nav"], source)
    if more:
        config["nav"].append({"More": more})
    try:
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    except Abort as error:
        sys.exit(f"make_site.py: {error}; what is wrong stands above, with its page")
    finally:
        config.plugins.on_shutdown()


def main() -> None:
    """Build the site into build/site."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    site = ROOT / "build" / "site"
    build_site(ROOT, ROOT / "build" / "site_source", site)
    print(f"{site / 'index.html'}: the site; its search needs a server, such as")
    print(f"    python3 -m http.server --directory {site} --bind 127.0.0.1")


if __name__ == "__main__":
    main()
