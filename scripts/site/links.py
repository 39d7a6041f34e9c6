"""Whether every link inside of the built site leads somewhere: to a file that is there, and to a place in it.

    python -m scripts.site.links docs/_build/html

Links to other sites are counted, not fetched: the build needs no network. Ends with 0, or with 1 where a link is dead.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag

_ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")


class Page(HTMLParser):
    """What a page links to, and what of it can be linked to.

    Args:
        text: its HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Reads one tag."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif value and (name == "id" or (tag, name) == ("a", "name")):
                self.places.add(value)


class Found(NamedTuple):
    """What the links of a site are.

    Attributes:
        inside: how many stay in the site.
        elsewhere: those that leave it, each once.
        dead: those that stay and lead nowhere, as "page: link".
    """

    inside: int
    elsewhere: set[str]
    dead: list[str]


def follow(site: Path) -> Found:
    """Follows every link of every page below a folder."""
    site = site.resolve()
    # What the theme brings in `_static` are patterns of pages.
    files = [path for path in sorted(site.rglob("*.html")) if path.relative_to(site).parts[0] != "_static"]
    pages = {path: Page(path.read_text()) for path in files}
    links = [(path, link) for path, page in pages.items() for link in page.links]
    inside = [(path, link) for path, link in links if not _ELSEWHERE.match(link)]
    dead = [f"{path.relative_to(site)}: {link}" for path, link in inside if not _leads_somewhere(path, link, pages)]
    return Found(len(inside), {link for _, link in links if _ELSEWHERE.match(link)}, dead)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    found = follow(Path(folder))
    if not found.inside:
        print(f"Expected a built site. Received: {folder}, which has no links.", file=sys.stderr)
        return 1
    print(f"{found.inside} links inside of the site, {len(found.dead)} of them dead; {len(found.elsewhere)} to others")
    print("\n".join(found.dead), end="\n" if found.dead else "", file=sys.stderr)
    return 1 if found.dead else 0


def _leads_somewhere(page: Path, link: str, pages: Mapping[Path, Page]) -> bool:
    path, place = urldefrag(link)
    file = Path(os.path.normpath(page.parent / unquote(path.partition("?")[0]))) if path else page
    file = file / "index.html" if file not in pages and file.is_dir() else file
    if not place or file not in pages:
        return file.exists()
    return unquote(place) in pages[file].places


if __name__ == "__main__":
    sys.exit(main())
