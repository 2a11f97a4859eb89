"""The site of the zoo: closed in itself, safe against what users write, the same each time."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from reading import Page

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.parts import datasets
from hlm_models.report import sketches
from hlm_models.report.zoo import STRUCTURES, doi_links, question
from hlm_models.zoo.references import digest_of

NAMES = ["dyestuff", "pastes", "radon-pooled", "sleepstudy-slopes"]
HOSTILE = "<script>alert(1)</script> \"'>&amp; \u202eחלום\u202c 🦜 "


class Links(HTMLParser):
    """Addresses by the attribute and tag that has them, and ids."""

    def __init__(self, text):
        super().__init__()
        self.found, self.ids, self.described = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [
            (tag, name, given[name]) for name in ("href", "src", "xlink:href") if name in given
        ]
        self.ids += [given["id"]] if "id" in given else []
        self.described |= tag == "meta" and given.get("name") == "description"


def crawl(site):
    """Hold every page of a site against the rules; gives the pages that links lead to."""
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    reached = {site / "index.html"}
    for path, links in pages.items():
        name = str(path.relative_to(site))
        text = path.read_text("utf-8")
        page = Page(text)
        assert not page.open, name
        assert not page.unbalanced, name
        assert len(set(links.ids)) == len(links.ids), name
        assert links.described, name
        assert "<title>" in text, name
        for tag, _, address in links.found:
            where = urlsplit(address)
            if where.scheme in ("http", "https"):
                assert (tag, where.netloc) == ("a", "doi.org"), (name, address)
                continue
            if where.scheme == "data":
                assert tag == "img", (name, address)
                continue
            assert not where.scheme, (name, address)
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            assert target.is_file(), (name, address)
            if target in pages:
                reached.add(target)
                assert not where.fragment or where.fragment in pages[target].ids, (name, address)
    return reached


@pytest.fixture(scope="module")
def badges(tmp_path_factory):
    """Badges as `hlm verify` writes them: one that passes, one that fails, one that is stale."""
    from hlm_models.zoo.badges import Badge, renew_badges
    from hlm_models.zoo.estimates import estimates
    from hlm_models.zoo.judge import judge

    found = []
    for name in ("dyestuff", "sleepstudy-slopes", "pastes"):
        spec = hlm.build(name)
        references = ()
        points = tuple(estimates(hlm.fit(spec, engine)) for engine in ("reml", "ml"))
        verdict = judge(references, points)
        found.append(
            Badge(
                model=name,
                status="fail" if name == "pastes" else "pass",
                worst=verdict.worst,
                failed=("reml: gradient: too far from 0",) if name == "pastes" else (),
                when="2026-11-20T10:00:00+00:00",
                versions={"hlm-models": "0.1", "numpy": "2.0"},
                digest="another" if name == "sleepstudy-slopes" else spec.digest,
                references=_references(name),
                n=spec.design.n,
                p=spec.design.p,
                groups={block.group: block.J for block in spec.blocks},
                estimates=points,
            )
        )
    path = tmp_path_factory.mktemp("badges") / "verified.json"
    renew_badges(path, found)
    return path


def _references(name):
    from hlm_models.api.models import read_config

    return digest_of(read_config(name)[0].reference)


@pytest.fixture(scope="module")
def site(tmp_path_factory, badges):
    out = tmp_path_factory.mktemp("zoo") / "site"
    page = hlm.build_zoo(out, names=NAMES, badges=badges)
    assert page == out / "index.html"
    return out


def test_every_link_leads_somewhere_and_every_page_is_reached(site):
    assert crawl(site) == set(site.rglob("*.html"))
    assert {path.stem for path in (site / "models").glob("*.html")} == set(NAMES)
    assert {path.stem for path in (site / "datasets").glob("*.html")} == {
        "dyestuff", "pastes", "radon", "sleepstudy"
    }  # fmt: skip


def test_index_shows_each_model_as_a_row_and_as_a_card(site):
    page = Page((site / "index.html").read_text("utf-8"))
    for name in NAMES:
        assert f"hlm run {name}" in page.text
    assert page.tags.count("article") == len(NAMES)
    assert (site / "index.html").read_text("utf-8").count("data-model=") == 2 * len(NAMES)
    for word in ("pooled", "one-way", "nested", "random slopes"):
        assert STRUCTURES[word] in page.text


def test_badges_say_in_words_what_they_are(site):
    said = {
        "dyestuff": "agrees with published numbers",
        "pastes": "differs from published numbers",
        "radon-pooled": "no badge yet",
        "sleepstudy-slopes": "verified before the model",
    }
    for name, words in said.items():
        page = Page((site / "models" / f"{name}.html").read_text("utf-8"))
        assert words in page.text.lower(), name
    listed = json.loads((site / "zoo.json").read_text("utf-8"))["models"]
    assert {one["name"]: one["status"] for one in listed} == {
        "dyestuff": "pass", "pastes": "fail", "radon-pooled": None, "sleepstudy-slopes": "stale"
    }  # fmt: skip
    assert "gradient: too far from 0" in Page((site / "models/pastes.html").read_text()).text


def test_page_of_a_model_has_all_of_it(site):
    text = (site / "models" / "sleepstudy-slopes.html").read_text("utf-8")
    page = Page(text)
    assert page.headings[0] == "Run it"
    for part in (
        "Does lack of sleep slow some people more than others?",
        "formula: reaction ~ days + (days | subject)",
        "half_student_t(3, 56.3288)",
        "18 subject",
        "10 rows in each",
        "Belenky",
        "GPL (>= 2)",
        "hlm verify sleepstudy-slopes",
        "numpy 2.0",
        "2026-11-20",
        'hlm.build("sleepstudy-slopes")',
    ):
        assert part in page.text, part
    assert "<math" in text
    assert "https://doi.org/10.1046/j.1365-2869.2003.00337.x" in text
    estimate = hlm.fit("sleepstudy-slopes", "ml").beta[1]
    assert f"{estimate:.3f}" in page.text
    file = (site / "models" / "sleepstudy-slopes.yaml").read_text("utf-8")
    assert file in unescape(text)
    assert "yaml-language-server" not in file


def test_related_models_are_those_of_the_same_data(tmp_path):
    hlm.build_zoo(tmp_path / "site", names=["radon-pooled", "radon-intercept", "eight-schools"])
    page = Page((tmp_path / "site/models/radon-pooled.html").read_text("utf-8"))
    assert "radon-intercept.html" in page.addresses
    assert "eight-schools.html" not in page.addresses


def test_page_of_a_dataset_has_source_licence_columns_and_rows(site):
    page = Page((site / "datasets" / "radon.html").read_text("utf-8"))
    card = datasets.find("radon")
    assert card.title in page.text
    assert card.licence in page.text
    assert "919 rows; county (85)" in page.text
    assert "1 to 116 rows in each, median 5" in page.text
    for column in card.columns:
        assert column.name in page.text
        assert column.about in page.text
    assert "AITKIN" in page.text
    assert page.tags.count("article") == 1


def test_same_inputs_give_the_same_bytes(site, badges, tmp_path):
    again = tmp_path / "again"
    hlm.build_zoo(again, names=["sleepstudy-slopes"], badges=badges)
    pages = [path.relative_to(again) for path in again.glob("*/*.*")]
    assert len(pages) == 3
    for page in pages:
        assert (again / page).read_bytes() == (site / page).read_bytes(), page


def test_what_users_write_is_shown_as_text(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    group = '<b>"gröup"</b> 🦜'
    rng = np.random.default_rng(1)
    lines = ["y,x,group"] + [
        f'{rng.normal():.3f},{x},"{group.replace(chr(34), chr(34) * 2)} {j}"'
        for j in range(6)
        for x in range(5)
    ]
    (folder / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    about = HOSTILE + "long " * 1000
    config = {
        "schema": 1, "name": "mine", "about": about, "data": {"source": {"file": "rows.csv"}},
        "formula": "y ~ x + (x | group)",
    }  # fmt: skip
    (folder / "mine.yaml").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    hlm.build_zoo(tmp_path / "site", folders=[folder], names=["mine", "rail"])
    assert crawl(tmp_path / "site") == set((tmp_path / "site").rglob("*.html"))
    for page in ("index.html", "models/mine.html"):
        text = (tmp_path / "site" / page).read_text("utf-8")
        assert "<script>alert" not in text
        assert '<b>"gr' not in text
        assert Page(text).scripts.count("") == 1
    page = Page((tmp_path / "site/models/mine.html").read_text("utf-8"))
    assert "<script>alert(1)</script>" in page.text
    assert "hlm run mine.yaml" in page.text
    assert "rows.csv" in page.text
    index = Page((tmp_path / "site/index.html").read_text("utf-8"))
    assert len(index.text) < 20_000


def test_rows_that_may_not_be_passed_on_are_not_shown(tmp_path, nels):
    hlm.build_zoo(tmp_path / "site", names=["nels-urban-slopes"])
    model, data = (
        (tmp_path / "site" / page).read_text("utf-8")
        for page in ("models/nels-urban-slopes.html", "datasets/nels.html")
    )
    assert "may not be passed on" in data
    assert "First rows" in data
    assert 'class="levels"' not in model
    assert 'class="dots"' not in model
    assert "<figure" in model
    schools = {str(one) for one in nels["school"].unique()}
    cells = {word for word in Page(data).text.split() if word in schools and len(word) > 3}
    assert not cells


def test_absent_data_leave_the_rest_of_the_page(tmp_path, monkeypatch):
    monkeypatch.delenv("HLM_DATA", raising=False)
    hlm.build_zoo(tmp_path / "site", names=["nels-slopes"])
    crawl(tmp_path / "site")
    page = Page((tmp_path / "site/models/nels-slopes.html").read_text("utf-8"))
    assert "There is no picture: the data are not bundled" in page.text
    assert "mscore ~ ses + (ses | school)" in page.text
    data = Page((tmp_path / "site/datasets/nels.html").read_text("utf-8"))
    assert "HLM_DATA" in data.text


def test_a_folder_is_written_over_only_when_it_is_a_site(site, tmp_path):
    with pytest.raises(InputErrors, match="exists"):
        hlm.build_zoo(site, names=["rail"])
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(InputErrors, match="not the folder of a zoo site"):
        hlm.build_zoo(other, names=["rail"], force=True)
    assert (other / "mine.txt").read_text() == "mine"
    hlm.build_zoo(tmp_path / "fresh", names=["rail"])
    hlm.build_zoo(tmp_path / "fresh", names=["dyestuff"], force=True)
    assert [path.stem for path in (tmp_path / "fresh/models").glob("*.html")] == ["dyestuff"]


def test_nothing_is_left_of_a_site_that_fails(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(f"schema: 1\nname: {name}\ndata: {{}}\n")
    with pytest.raises(InputErrors) as caught:
        hlm.build_zoo(tmp_path / "site", folders=[folder], names=["one", "rail", "two"])
    assert "one.yaml" in str(caught.value)
    assert "two.yaml" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (folder / "one.yaml").write_text(
        "schema: 1\nname: one\ndata: {source: rail}\nformula: travel ~ nothing + (1 | rail)\n"
    )
    with pytest.raises(InputErrors, match="nothing"):
        hlm.build_zoo(tmp_path / "site", folders=[folder], names=["one", "rail"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(InputErrors, match="did you mean 'rail'"):
        hlm.build_zoo(tmp_path / "site", names=["rial"])
    with pytest.raises(InputErrors, match="no file"):
        hlm.build_zoo(tmp_path / "site", names=["rail"], badges=tmp_path / "none.json")


def test_a_model_that_reml_refuses_still_has_a_page(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "full.yaml").write_text(
        "schema: 1\nname: full\ndata: {source: eight_schools}\nformula: effect ~ 1 + (1 | school)\n"
    )
    hlm.build_zoo(tmp_path / "site", folders=[folder], names=["full"])
    page = Page((tmp_path / "site/models/full.html").read_text("utf-8"))
    assert "REML does not fit it" in page.text


def test_dois_become_links_and_the_rest_stays_text():
    found = doi_links("A <b>, doi:10.1016/0167-7152(90)90088-X; B, doi:10.18637/jss.v067.i01.")
    assert found.count("<a ") == 2
    assert 'href="https://doi.org/10.1016/0167-7152(90)90088-X"' in found
    assert 'href="https://doi.org/10.18637/jss.v067.i01"' in found
    assert "&lt;b&gt;" in found
    assert found.endswith("</a>.")


def test_question_is_the_first_sentence():
    assert question("Does it? For all.") == "Does it?"
    assert question("About 2.5 of it. More.") == "About 2.5 of it."
    assert question("no end") == "no end"


def test_sketches_draw_every_level_once():
    x = np.array([0.0, 1.0])
    picture = sketches.lines(
        [(x, np.array([0.0, 1.0])), (x, np.array([1.0, 1.0]))], (x, x), None, alt="a<b"
    )
    assert picture.count("<path") == 2
    assert 'aria-label="a&lt;b"' in picture
    assert 'd="M5 99L235 5M5 5L235 5"' in picture
    flat = sketches.lines([], (x, np.zeros(2)), None, alt="flat")
    assert "nan" not in flat
    many = sketches.caterpillars([(np.zeros(4000), np.ones(4000))], alt="many")
    assert many.count("V") == sketches.BARS
    assert sketches.bars(np.array([0, 2, 1]), alt="bars").count("z") == 2


@pytest.mark.slow
def test_whole_zoo(tmp_path):
    steps = []
    hlm.build_zoo(tmp_path / "site", progress=steps.append)
    names = hlm.list_models()
    site = tmp_path / "site"
    assert crawl(site) == set(site.rglob("*.html"))
    assert {path.stem for path in (site / "models").glob("*.html")} == set(names)
    assert {path.stem for path in (site / "datasets").glob("*.html")} == set(datasets.names())
    assert [step.done for step in steps] == list(range(len(names) + len(datasets.names())))
    listed = json.loads((site / "zoo.json").read_text("utf-8"))["models"]
    assert set().union(*(one["structure"] for one in listed)) == set(STRUCTURES)
    assert all(one["structure"] for one in listed)
    assert all(path.stat().st_size < 2e6 for path in site.rglob("*.html"))


def test_numbers_of_the_first_rows_have_a_proper_minus():
    from hlm_models.api.zoo import _first_rows

    frame = pd.DataFrame({"x": [-0.5, 1.0], "n": [-3, 4], "label": ["a-b", "c"]})
    assert _first_rows(frame) == (("\N{MINUS SIGN}0.5", "\N{MINUS SIGN}3", "a-b"), ("1", "4", "c"))


def test_groups_are_named_with_how_many_levels_they_have(site):
    text = Page((site / "models" / "pastes.html").read_text("utf-8")).text
    assert "batch:cask (30), batch (10)" in text


def test_captions_say_in_bold_what_would_be_wrong(site):
    text = (site / "models" / "sleepstudy-slopes.html").read_text("utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert captions
    assert all(one.count("<strong>Wrong would be</strong>") == 1 for one in captions)
