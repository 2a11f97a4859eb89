"""Pages as a browser shows them: quiet, whole, and at hand by mouse, keyboard and on paper.

`open_page` fails a test whose page logs, asks for anything beside itself, or opens a dialog.
"""

import pytest
from canned_pages import HOSTILE, KINDS, hostile_models, plain_models, rendered
from playwright.sync_api import expect

WIDTHS = (400, 1280)


@pytest.fixture(scope="session")
def pages(chromium, tmp_path_factory):
    """A function `(kind, names)` to the path of a page, which is made once."""
    folder, models = tmp_path_factory.mktemp("pages"), {}

    def made(kind, names="plain"):
        path = folder / f"{kind}-{names}.html"
        if not path.exists():
            if names not in models:
                models[names] = {"plain": plain_models, "hostile": hostile_models}[names]()
            path.write_text(rendered(kind, models[names]), encoding="utf-8")
        return path

    return made


@pytest.fixture(params=KINDS)
def path(request, pages):
    return pages(request.param)


def wide(page):
    """How much wider the page is than its window, all sections laid out."""
    page.add_style_tag(content="section { content-visibility: visible !important; }")
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_quiet_and_as_wide_as_the_window(path, open_page, width, scheme):
    page = open_page(path, width, scheme)
    assert wide(page) == 0
    assert page.locator("h1").count() == 1


def test_every_figure_is_drawn(path, open_page):
    page = open_page(path)
    empty = page.evaluate(
        """() => [...document.querySelectorAll("figure svg, figure img")].filter((one) => {
            const { width, height } = one.getBoundingClientRect();
            const drawn = one.naturalWidth || one.querySelectorAll("path, use, text").length;
            return !(width > 100 && height > 60 && drawn > 5);
        }).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert empty == []
    assert page.locator("figure").count() >= 1


@pytest.mark.parametrize("width", WIDTHS)
def test_links_of_the_contents_lead_to_their_sections(path, open_page, width):
    page = open_page(path, width)
    links = page.locator("nav.contents a")
    ids = page.eval_on_selector_all("main section[id]", "all => all.map((one) => one.id)")
    assert links.count() == len(ids) >= 4
    for at, name in enumerate(ids):
        if width < 1000:
            page.get_by_role("button", name="Contents").or_(
                page.locator("button.menu")
            ).first.click()
        links.nth(at).click()
        assert page.evaluate("location.hash") == f"#{name}"
        top, end, height = page.evaluate(
            """(id) => {
                const { top } = document.getElementById(id).getBoundingClientRect();
                const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
                return [top, end, innerHeight];
            }""",
            name,
        )
        # The last sections may be too short to reach the top.
        assert 0 <= top <= 120 or (end and 0 <= top < height)
        folded = page.locator(f"#{name}.folded > details")
        assert folded.count() == 0 or folded.evaluate("one => one.open")


def test_the_contents_tell_where_one_is(pages, open_page):
    page = open_page(pages("comparison"))
    page.locator("#likelihoods").evaluate("one => one.scrollIntoView()")
    current = page.locator("nav.contents a[aria-current]")
    current.filter(has_text="Likelihoods").wait_for()
    assert current.count() == 1


def test_a_link_from_outside_opens_what_is_folded(pages, open_page):
    page = open_page(pages("comparison"))
    page.evaluate("location.hash = '#checks'")
    page.locator("#checks > details[open]").wait_for()


def test_the_contents_on_a_phone_open_and_close_by_keyboard(path, open_page):
    page = open_page(path, 400)
    menu = page.locator("button.menu")
    assert not page.locator("nav.contents ol").is_visible()
    menu.focus()
    page.keyboard.press("Enter")
    assert page.locator("nav.contents ol").is_visible()
    assert menu.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert menu.get_attribute("aria-expanded") == "false"
    assert not page.locator("nav.contents ol").is_visible()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(path, open_page):
    page = open_page(path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def ground(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_colours_follow_the_system_until_they_are_chosen(pages, open_page):
    path = pages("prior")
    light, dark = ground(open_page(path)), open_page(path, scheme="dark")
    assert ground(dark) != light
    dark.get_by_role("button", name="Light colours").click()
    assert ground(dark) == light
    dark.reload()
    assert ground(dark) == light
    dark.get_by_role("button", name="Dark colours").click()
    assert ground(dark) != light


def test_blocked_storage_and_a_page_without_scripts_do_no_harm(pages, open_page):
    path = pages("comparison")
    page = open_page(path, java_script_enabled=False, width=400)
    assert page.locator("nav.contents a").first.is_visible()
    assert page.locator("tbody tr").first.is_visible()
    assert page.locator("button").count() == 0
    blocked = open_page(path)
    blocked.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', "
        "{ get() { throw new DOMException('blocked', 'SecurityError'); } })"
    )
    blocked.reload()
    blocked.locator("button.theme").click()
    assert blocked.evaluate("document.documentElement.dataset.theme") == "dark"


TABLE = """
<div class="table filtered"><div class="scroll"><table><caption>c</caption>
<thead><tr><th class="name">name</th><th class="number">value</th></tr></thead>
<tbody>{rows}</tbody></table></div></div>
"""
VALUES = {
    "b10": "−9.366", "b9": "1,528", "a": "–", "B": "<0.001", "e": "3e-05", "f": "−∞",
    "école": "0.1 to 0.3", "z": "−1e-06", "<i>": "12",
}  # fmt: skip
ASCENDING = ["f", "b10", "z", "e", "B", "école", "<i>", "b9", "a"]


@pytest.fixture
def table(open_page, tmp_path):
    """A small table in the frame of all pages."""
    from markupsafe import Markup

    from hlm_models.report.template import filled

    row = Markup("<tr><th class='name'>{}</th><td class='number'>{}</td></tr>")
    rows = Markup("").join(row.format(*one) for one in VALUES.items())
    text = filled("base.html", {}).replace("</main>", f"{TABLE.format(rows=rows)}</main>")
    path = tmp_path / "table.html"
    path.write_text(text, encoding="utf-8")
    return open_page(path)


def names(page):
    return page.locator("tbody tr:visible th").all_inner_texts()


def test_numbers_sort_as_numbers_and_what_is_absent_is_last(table):
    head = table.locator("th", has_text="value")
    head.get_by_role("button").click()
    assert names(table) == ASCENDING
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert names(table) == [*ASCENDING[-2::-1], "a"]
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").press(" ")
    assert names(table) == list(VALUES)
    assert head.get_attribute("aria-sort") is None


def test_names_sort_as_people_do(table):
    table.get_by_role("button", name="name").click()
    assert names(table) == ["<i>", "a", "B", "b9", "b10", "e", "école", "f", "z"]


def test_a_filter_leaves_the_rows_that_have_all_its_words(table):
    box = table.get_by_role("searchbox", name="Show rows with")
    box.fill("B")
    assert names(table) == ["b10", "b9", "B"]
    assert "3 of 9 rows" in table.get_by_role("status").first.inner_text()
    box.fill("b 528")
    assert names(table) == ["b9"]
    box.fill("<i>")
    assert names(table) == ["<i>"]
    box.fill("")
    assert names(table) == list(VALUES)


def test_every_table_of_a_page_can_be_sorted(path, open_page):
    page = open_page(path)
    short = page.evaluate(
        """() => [...document.querySelectorAll(".table table")].filter(
            (one) => (one.tBodies[0].rows.length >= 3) !== Boolean(one.querySelector("th button"))
        ).length"""
    )
    assert short == 0
    before = page.locator("table:has(th button) tbody tr").all_text_contents()
    for button in page.locator("table:has(th button) th:first-child button:visible").all():
        button.click()
        button.click()
    after = page.locator("table:has(th button) tbody tr").all_text_contents()
    assert before != after
    assert sorted(before) == sorted(after)


LEVELS = """
<script type="application/json" class="levels" data-group="g">["north <b>", "east", "south"]
</script>
<svg id="one" width="300" height="100" data-group="g" data-series='{"dots": [2, 0, 1]}'>
<defs><circle id="dot" r="3"/></defs>
<g id="dots"><use href="#dot" x="50" y="50"/><use href="#dot" x="150" y="50"/>
<use href="#dot" x="250" y="50"/></g></svg>
<svg id="two" width="300" height="100" data-group="g" data-series='{"lines": [0, 1, 2]}'>
<g id="lines" stroke="black"><path d="M 10 10 L 290 10"/><path d="M 10 50 L 290 50"/>
<path d="M 10 90 L 290 90"/></g></svg>
<table><tbody><tr data-group="g" data-level="0"><td>north</td></tr>
<tr data-group="g" data-level="1"><td>east</td></tr>
<tr data-group="other" data-level="0"><td>no</td></tr></tbody></table>
<p id="away">away</p>
"""


@pytest.fixture
def levels(open_page, tmp_path):
    """Two figures and a table of three levels, in the frame of all pages."""
    from hlm_models.report.template import filled

    path = tmp_path / "levels.html"
    path.write_text(
        filled("base.html", {}).replace("</main>", f"{LEVELS}</main>"), encoding="utf-8"
    )
    return open_page(path)


def lit(page):
    """What is lit: ids of figures with the place of the mark, and rows by their text."""
    return page.eval_on_selector_all(
        ".lit",
        """all => all.map((one) => {
            const svg = one.closest("svg");
            return svg ? svg.id + [...one.parentElement.children].indexOf(one) : one.innerText;
        })""",
    )


def over(page, selector, x, y):
    box = page.locator(selector).bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.evaluate("new Promise(requestAnimationFrame)")


def test_the_level_under_the_pointer_is_lit_everywhere_and_told(levels):
    tip = levels.locator(".tip")
    over(levels, "#one", 160, 42)
    assert sorted(lit(levels)) == ["north", "one1", "two0"]
    assert tip.inner_text() == "north <b>"
    # Nearest to the line, far from the middle of it.
    over(levels, "#two", 20, 85)
    assert sorted(lit(levels)) == ["one0", "two2"]
    assert tip.inner_text() == "south"
    over(levels, "tr[data-level='1']", 5, 5)
    assert sorted(lit(levels)) == ["east", "one2", "two1"]
    over(levels, "tr[data-group='other']", 5, 5)
    assert lit(levels) == []
    over(levels, "#one", 50, 50)
    over(levels, "#away", 5, 5)
    assert lit(levels) == []
    assert not tip.is_visible()


def test_levels_are_told_by_tap_and_by_keyboard(levels):
    levels.locator("#one").focus()
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        levels.keyboard.press(key)
        told.append(levels.locator(".tip").inner_text())
    assert told == ["south", "north <b>", "east", "east", "north <b>", "south", "east"]
    levels.keyboard.press("Escape")
    assert lit(levels) == []
    box = levels.locator("#one").bounding_box()
    levels.locator("#one").dispatch_event(
        "pointerdown", {"clientX": box["x"] + 50, "clientY": box["y"] + 50, "pointerType": "touch"}
    )
    levels.evaluate("new Promise(requestAnimationFrame)")
    assert levels.locator(".tip").inner_text() == "south"
    levels.locator("#away").dispatch_event("pointerdown", {"pointerType": "touch"})
    assert lit(levels) == []


def test_on_paper_all_is_open_light_and_inside_the_page(path, open_page):
    page = open_page(path, 718, "dark")  # A4 less its margins, at 96 dots an inch
    page.emulate_media(media="print", color_scheme="dark")
    folded = page.locator("details:not([open])")
    expect(folded).to_have_count(0)
    assert ground(page) == "rgb(255, 255, 255)"
    assert not page.locator("nav.contents").is_visible()
    assert not page.locator("button.theme").is_visible()
    out = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((one) => one.checkVisibility() &&
            !one.closest("svg, math, .latex") && one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => `${one.tagName}.${one.className} ${one.innerText.slice(0, 60)}`)"""
    )
    assert out == []
    page.emulate_media(media="screen")
    expect(folded).not_to_have_count(0)


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in KINDS[1:])]
)
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_are_text_that_breaks_nothing(kind, pages, open_page, width):
    page = open_page(pages(kind, "hostile"), width)
    assert wide(page) == 0
    kinds = page.eval_on_selector_all("script", "all => all.map((one) => one.type)")
    assert [one for one in kinds if one != "application/json"] == [""]
    assert (
        page.locator("main b b, main img[src='x'], main [onerror], main script:not([type])").count()
        == 0
    )
    assert HOSTILE[0] in page.locator("h1").inner_text()
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, p, td, th, dd")].filter((one) =>
            one.checkVisibility() && !one.closest(".scroll, .card, .equations, .tip")
            && one.getBoundingClientRect().right > innerWidth).length"""
    )
    assert hidden == 0
    for link in page.locator("nav.contents a").all():
        assert len(link.inner_text()) < 100
    for one in page.eval_on_selector_all(
        "script.levels", "all => all.map((one) => one.textContent)"
    ):
        assert "<" not in one
