"""The site of the zoo in a browser: choosing, sorting, copying, narrow, dark, without scripts."""

import pytest

import hlm_models as hlm

NAMES = ["dyestuff", "hsb-slopes-as-outcomes", "pastes", "penicillin", "radon-pooled", "rail"]
PAGES = (
    "index.html",
    "models/hsb-slopes-as-outcomes.html",
    "models/penicillin.html",
    "datasets/hsb.html",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("zoo") / "site"
    return hlm.build_zoo(out, names=NAMES).parent


def seen(page, selector):
    return [
        one.get_attribute("data-model") for one in page.locator(selector).all() if one.is_visible()
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_their_width_and_show_their_pictures(site, open_page, name, width, scheme):
    page = open_page(site / name, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for picture in page.locator("main svg").all():
        box = picture.bounding_box()
        assert box["width"] > 40
        assert box["height"] > 10
    for link in page.locator("nav.contents a").all():
        target = link.get_attribute("href")
        assert page.locator(target).count() == 1


def test_buttons_choose_rows_and_cards_together(site, open_page):
    page = open_page(site / "index.html")
    assert seen(page, "article") == sorted(NAMES)
    page.get_by_role("button", name="nested").click()
    assert seen(page, "article") == seen(page, "tr[data-model]") == ["pastes"]
    page.get_by_role("button", name="crossed").click()
    assert seen(page, "article") == ["pastes", "penicillin"]
    assert page.locator(".count").text_content() == "2 of 6 models"
    assert page.evaluate("location.search") == "?structure=nested&structure=crossed"
    page.locator(".chip[data-key=data][data-value=pastes]").click()
    assert seen(page, "article") == ["pastes"]
    page.get_by_role("button", name="Show all").click()
    assert seen(page, "tr[data-model]") == sorted(NAMES)
    page.get_by_label("Search").fill("catholic schools")
    assert seen(page, "tr[data-model]") == ["hsb-slopes-as-outcomes"]
    page.get_by_label("Search").fill("nothing of the kind")
    assert seen(page, "article") == []
    assert page.locator(".count").text_content() == "0 of 6 models"


def test_an_address_chooses(site, chromium):
    page = chromium.new_page()
    page.goto(f"{(site / 'index.html').as_uri()}?structure=pooled")
    assert seen(page, "article") == ["radon-pooled"]
    assert page.locator(".chip[aria-pressed=true]").count() == 1
    page.close()


def test_table_sorts_by_its_heads(site, open_page):
    page = open_page(site / "index.html")
    head = page.get_by_role("button", name="rows").first
    head.click()
    assert seen(page, "tr[data-model]")[0] == "rail"
    head.click()
    assert seen(page, "tr[data-model]")[0] == "hsb-slopes-as-outcomes"


def test_commands_are_copied(site, open_page):
    page = open_page(site / "models/rail.html", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("hlm run rail\n")


def test_without_scripts_everything_is_shown(site, open_page):
    page = open_page(site / "index.html", java_script_enabled=False)
    assert seen(page, "article") == seen(page, "tr[data-model]") == sorted(NAMES)
    assert not page.locator(".chooser").is_visible()
