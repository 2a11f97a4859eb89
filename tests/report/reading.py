"""A page as a test reads it."""

from html.parser import HTMLParser

__all__ = ["Page"]

VOID = {"meta", "img", "br", "hr", "wbr", "link", "input"}


class Page(HTMLParser):
    """Text, headings, addresses, kinds of scripts, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.unbalanced, self.addresses, self.tags = [], [], [], []
        self.text, self.headings, self.scripts = "", [], []
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag == "script":
            self.scripts.append(dict(attrs).get("type", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append((tag, self.getpos()))

    def handle_data(self, data):
        if {"style", "script", "nav"}.isdisjoint(self.open):
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
