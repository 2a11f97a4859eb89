"""Every link between the pages leads somewhere."""

import itertools
import re
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))
MARKDOWN = MarkdownIt("commonmark").enable("table")


def tokens(path):
    for token in MARKDOWN.parse(path.read_text("utf-8")):
        yield token
        yield from token.children or ()


@cache
def anchors(path):
    """Of the headings, as code hosts make them: a second one of the same text gets a number."""
    found, seen = set(), {}
    parsed = MARKDOWN.parse(path.read_text("utf-8"))
    for opening, inline in itertools.pairwise(parsed):
        if opening.type == "heading_open":
            text = "".join(one.content for one in inline.children if one.type != "html_inline")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(slug if slug not in seen else f"{slug}-{seen[slug]}")
            seen[slug] = seen.get(slug, 0) + 1
    return found


@cache
def links(path):
    """Targets of links and pictures that are not on the network."""
    given = [token.attrs.get("href") or token.attrs.get("src") for token in tokens(path)]
    return [one for one in given if one and not re.match(r"[a-z]+:", one)]


def broken(path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert list(broken(path)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A b\n\n[one](#a-b) [two](#b) [three](page.md#a-b) ![four](gone.png)\n")
    assert [text.partition(":")[0] for text in broken(page)] == ["#b", "gone.png"]


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        names = [link.partition("#")[0] for link in links(page)]
        waiting += [(page.parent / name).resolve() for name in names if name]
    assert sorted({path for path in PAGES if "notebooks" not in path.parts} - reached) == []
