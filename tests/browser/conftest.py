"""One Chromium for all tests, and pages in it that say what went wrong."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    """A headless browser of the system, started once."""
    known = (*map(shutil.which, NAMES), "/usr/bin/chromium")
    path = next((one for one in known if one and os.access(one, os.X_OK)), None)
    if path is None:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """A function `(path, width, scheme)` that opens a page; at the end it must have kept quiet.

    Quiet: no error or warning on the console, no dialog, and no request but of the file itself.
    """
    contexts, told = [], []

    def opened(path, width=1280, scheme="light", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda one: told.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: told.append(f"error: {one}"))
        page.on("dialog", lambda one: (told.append(f"dialog: {one.message}"), one.dismiss()))
        address = path.as_uri()
        page.on(
            "request",
            lambda one: (
                told.append(f"request: {one.url[:200]}")
                if one.url.split("#")[0] != address and not one.url.startswith("data:")
                else None
            ),
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert told == []
