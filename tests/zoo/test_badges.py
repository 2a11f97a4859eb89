"""Badges come back as they were kept, and say when they are not of what there is now."""

import json
from dataclasses import replace

import pytest

from hlm_models.errors import HlmError, InputErrors
from hlm_models.zoo.badges import Badge, newest, read_badges, renew_badges
from hlm_models.zoo.estimates import Estimate, Estimates
from hlm_models.zoo.judge import Difference

REML = Estimates(
    "reml",
    {"beta[Intercept]": Estimate(66.5, 10.171), "sd_rail[Intercept]": Estimate(0.0, None)},
    {"criterion": 122.177000808598, "loglik": -61.0885, "aic": 128.2, "bic": 130.9},
    (),
    0.25,
)
NUTS = Estimates("nuts", {"sigma": Estimate(4.2, 0.9, 0.01, 0.02)}, {}, ("r_hat: 1.2",), 1.5)
BADGE = Badge(
    model="rail",
    status="fail",
    worst=Difference("reml", "beta[Intercept]", 66.5, 66.4, 0.05, "a book"),
    failed=("nuts: r_hat: 1.2",),
    when="2026-11-22T01:00:00+00:00",
    versions={"numpy": "2.3"},
    digest="d",
    references="r",
    n=18,
    p=1,
    groups={"rail": 6},
    estimates=(REML, NUTS),
)


def test_badges_come_back_as_they_were_kept(tmp_path):
    path = tmp_path / "new" / "verified.json"
    bare = replace(BADGE, model="dyestuff", status="none", worst=None)
    renew_badges(path, [BADGE, bare])
    assert read_badges(path) == {"dyestuff": bare, "rail": BADGE}
    assert BADGE.seconds == 1.75
    assert [one.draws for one in BADGE.estimates] == [False, True]


def test_badges_of_other_models_stay_and_no_other_file_does(tmp_path):
    path = tmp_path / "verified.json"
    renew_badges(path, [BADGE])
    newer = replace(BADGE, status="pass", worst=None)
    renew_badges(path, [replace(BADGE, model="dyestuff")])
    renew_badges(path, [newer])
    assert read_badges(path) == {"dyestuff": replace(BADGE, model="dyestuff"), "rail": newer}
    assert [one.name for one in tmp_path.iterdir()] == ["verified.json"]


def test_a_number_that_is_not_there_is_kept_as_such(tmp_path):
    missing = replace(BADGE, worst=Difference("reml", "se[x]", None, 1.0, 0.5, "a book"))
    renew_badges(tmp_path / "b.json", [missing])
    assert read_badges(tmp_path / "b.json")["rail"] == missing


def test_no_file_has_no_badges(tmp_path):
    assert read_badges(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 1}', '{"format": 1, "models": {"rail": {}}}', '{"format": 1, "'],
)
def test_a_file_of_something_else_is_refused_and_not_written_over(text, tmp_path):
    path = tmp_path / "thesis.json"
    path.write_text(text)
    for call in (lambda: read_badges(path), lambda: renew_badges(path, [BADGE])):
        with pytest.raises(InputErrors, match=r"thesis\.json: this is no file of badges"):
            call()
    assert path.read_text() == text


def test_a_format_of_another_version_is_told(tmp_path):
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"format": 2, "models": {}}))
    with pytest.raises(InputErrors, match=r"format 2 is not that of this version \(1\)"):
        read_badges(path)


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HlmError, match="file"):
        renew_badges(tmp_path / "file" / "b.json", [BADGE])


@pytest.mark.parametrize(
    ("digest", "references", "expected"),
    [("d", "r", "fail"), ("e", "r", "stale"), ("d", "s", "stale")],
)
def test_a_badge_of_another_model_or_other_references_is_stale(digest, references, expected):
    assert BADGE.standing(digest=digest, references=references) == expected


def test_the_newest_badge_of_a_model_counts():
    old = replace(BADGE, when="2026-11-21T01:00:00+00:00")
    other = replace(old, model="dyestuff")
    for collections in ([{"rail": BADGE}, {"rail": old}], [{"rail": old}, {"rail": BADGE}]):
        assert newest({"dyestuff": other}, *collections) == {"dyestuff": other, "rail": BADGE}
