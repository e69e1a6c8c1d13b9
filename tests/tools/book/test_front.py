"""The pages around the chapters: the front page leads everywhere, the glossary holds its terms."""

import re
from pathlib import Path
from xml.etree import ElementTree

from tools.book.chapters import read_chapters, toc_files

ROOT = Path(__file__).resolve().parents[3]
BOOK = ROOT / "book"
FRONT = (BOOK / "index.md").read_text(encoding="utf8")
OVERVIEW = BOOK / "_static" / "overview.svg"
SVG = "{http://www.w3.org/2000/svg}"
ROLE = re.compile(r"\{(\w+)(?::\w)?\}`(?:[^`<]*<)?([^`<>]+)>?`")
MOUNTED = re.compile(r"^\(([\w-]+)\)=$", flags=re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the Markdown of every page and chapter, by its path below ``book/``."""
    chapters = {
        name: "\n\n".join(c.source for c in chapter.notebook.cells if c.cell_type == "markdown")
        for name, chapter in read_chapters(ROOT).items()
    }
    files = (ROOT / f"{file}.md" for file in toc_files(ROOT))
    return chapters | {
        path.relative_to(BOOK).as_posix(): path.read_text(encoding="utf8")
        for path in files
        if path.is_file()
    }


def glossary() -> list[str]:
    """Return the terms of the glossary."""
    text = (BOOK / "back" / "glossary.md").read_text(encoding="utf8")
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if re.match(r"\S", line)]


def test_front_page_leads_to_every_other_page() -> None:
    labels = {MOUNTED.findall(text)[0] for name, text in pages().items() if name != "index.md"}
    assert labels <= {target for role, target in ROLE.findall(FRONT) if role == "ref"}


def test_glossary_is_alive() -> None:
    terms = glossary()
    assert len(terms) == len({term.lower() for term in terms}), "expected each term once"
    used = {
        (name, target)
        for name, text in pages().items()
        for role, target in ROLE.findall(text)
        if role == "term" and name != "back/contributing.md"
    }
    assert used
    assert not [(name, term) for name, term in used if term not in terms]


def test_overview_stands_alone() -> None:
    picture = ElementTree.parse(OVERVIEW).getroot()
    assert picture.find(f"{SVG}title") is not None
    assert picture.find(f"{SVG}desc") is not None
    assert picture.findall(f".//{SVG}text"), "expected text as text"
    assert not picture.findall(f".//{SVG}image") + picture.findall(f".//{SVG}script")
    links = re.findall(r"https?://[^\"')\s]+", OVERVIEW.read_text(encoding="utf8"))
    assert set(links) == {SVG[1:-1]}
