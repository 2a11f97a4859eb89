"""The bundled datasets are what their cards say, and what their sources hold."""

import itertools
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "hlm_models" / "parts" / "datasets"
CARDS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FOLDER.glob("*.yaml")}
BUNDLED = sorted(name for name, card in CARDS.items() if "file" in card)

# Configs name these columns, so a changed name or order is a public change.
CONTRACT = {
    "dyestuff": "yield batch",
    "dyestuff2": "yield batch",
    "eight_schools": "school effect se",
    "grunfeld": "firm year investment market_value capital",
    "hsb": "mathach ses minority sex school meanses sector size pracad disclim himinty",
    "insteval": "y s d studage lectage service dept",
    "nels": "school enroll flp public urbanicity hwh ses mscore",
    "oats": "block variety nitro yield",
    "orthodont": "distance age subject sex",
    "oxide": "source lot wafer site thickness",
    "pastes": "strength batch cask",
    "penicillin": "diameter plate sample",
    "pixel": "dog side day pixel",
    "radon": "county floor log_radon log_uranium",
    "rail": "rail travel",
    "sleepstudy": "reaction days subject",
}


def read(path):
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def bundled(name):
    return read(FOLDER / CARDS[name]["file"])


def differences(card, frame):
    """Whatever in the rows is not as the card says."""
    if list(frame) != list(card["columns"]):
        return [f"columns are {list(frame)}"]
    found = []
    if len(frame) != card["rows"]:
        found.append(f"{len(frame)} rows")
    if frame.isna().any(axis=None):
        found.append("missing values")
    groups = {group: frame.groupby(group.split(":"), sort=False) for group in card["groups"]}
    for group, levels in card["groups"].items():
        if groups[group].ngroups != levels:
            found.append(f"{group} has {groups[group].ngroups} levels")
    for column, entry in card["columns"].items():
        steady = {g for g, rows in groups.items() if (rows[column].nunique() == 1).all()}
        if entry["level"] == "row" and steady:
            found.append(f"{column} is constant within {steady}")
        if entry["level"] != "row" and entry["level"] not in steady:
            found.append(f"{column} varies within {entry['level']}")
        if entry["kind"] == "number" and not pd.api.types.is_numeric_dtype(frame[column]):
            found.append(f"{column} is not a number")
        if entry["kind"] == "label":
            text = frame[column].astype(str)
            # 308.0 would be a subject read as a float.
            if pd.api.types.is_float_dtype(frame[column]) or (text != text.str.strip()).any():
                found.append(f"{column} is not a clean label")
            if (text == "").any():
                found.append(f"{column} has an empty label")
    return found


def test_every_dataset_has_its_columns_in_order():
    assert {name: " ".join(card["columns"]) for name, card in CARDS.items()} == CONTRACT


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_card_is_complete(name):
    card = CARDS[name]
    place = "file" if "file" in card else "external"
    needed = ["name", "title", "about", "source", "taken_from", "licence", place]
    assert list(card) == [*needed, "rows", "groups", "columns"]
    assert card["name"] == name
    for key in needed[:6]:
        assert isinstance(card[key], str)
        assert card[key].strip()
    for group in card["groups"]:
        assert set(group.split(":")) <= set(card["columns"])
    for entry in card["columns"].values():
        assert set(entry) - {"unit"} == {"kind", "level", "about"}
        assert entry["kind"] in {"label", "number"}
        assert entry["level"] in {"row", *card["groups"]}
        assert all(isinstance(text, str) and text for text in entry.values())


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_card_fits_the_page(name):
    lines = (FOLDER / f"{name}.yaml").read_text("utf-8").splitlines()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", BUNDLED)
def test_rows_are_as_the_card_says(name):
    assert differences(CARDS[name], bundled(name)) == []


@pytest.mark.parametrize("name", BUNDLED)
def test_file_is_small(name):
    assert (FOLDER / CARDS[name]["file"]).stat().st_size < 600_000


def test_every_file_has_a_card():
    files = {path.name for path in FOLDER.iterdir() if path.suffix in {".csv", ".parquet"}}
    assert files == {CARDS[name]["file"] for name in BUNDLED}


def test_nels_is_registered_and_not_bundled():
    external = CARDS["nels"]["external"]
    assert set(external) == {"file", "help"}
    assert external["file"] == "nels.csv"
    for word in ["HLM_DATA", "nels.csv", *CARDS["nels"]["columns"]]:
        assert word in external["help"]


def test_nels_rows_are_as_the_card_says():
    folder = os.environ.get("HLM_DATA")
    if not folder:
        pytest.skip("NELS is not bundled, and HLM_DATA does not name the folder of nels.csv")
    assert differences(CARDS["nels"], read(Path(folder, "nels.csv"))) == []


# Facts printed by R 4.2.2 from the packages' own objects, before anything was exported.


def test_sleepstudy_begins_as_in_lme4():
    assert bundled("sleepstudy").iloc[0].tolist() == [249.56, 0, 308]


def test_rail_begins_as_in_nlme():
    rail = bundled("rail")
    assert rail["rail"].tolist() == list(itertools.chain(*([k] * 3 for k in range(1, 7))))
    assert rail["travel"].tolist()[:6] == [55, 53, 54, 26, 37, 32]


def test_orthodont_begins_as_in_nlme():
    orthodont = bundled("orthodont")
    assert orthodont["distance"].tolist()[:4] == [26, 25, 29, 31]
    assert orthodont.groupby("sex")["subject"].nunique().to_dict() == {"Male": 16, "Female": 11}


def test_hsb_school_1224_is_that_of_the_school_table():
    # head(nlme::MathAchSchool, 1)
    hsb = bundled("hsb")
    school = hsb[hsb["school"] == 1224].iloc[0]
    assert school[["size", "sector", "pracad", "disclim", "himinty", "meanses"]].tolist() == [
        842,
        "Public",
        0.35,
        1.597,
        0,
        -0.428,
    ]
    assert school[["mathach", "ses", "minority", "sex"]].tolist() == [5.876, -1.528, 0, "Female"]


def test_hsb_codes_are_zero_and_one():
    assert set(bundled("hsb")["minority"]) == set(bundled("hsb")["himinty"]) == {0, 1}


def test_radon_is_the_log_of_the_activity_itself():
    # rstanarm's own column is log(activity + 0.1); its mean is 1.2648 and it begins with log(2.3).
    # The first house has 2.2 pCi/L. The values by row are those of HLMdiag::radon, rows 1, 45, 107,
    # 145, 239, 247 and 256; rows 107 and 145 hold activity 0 and row 239 holds 0.1.
    radon = bundled("radon")
    assert radon["log_radon"][0] == pytest.approx(math.log(2.2), abs=1e-14)
    rows = [1, 45, 107, 145, 239, 247, 256]
    hlmdiag = [
        0.78845736036427,
        -1.6094379124341,
        -2.30258509299405,
        -2.30258509299405,
        -2.30258509299405,
        3.48431228837266,
        3.77276093809464,
    ]
    # HLMdiag prints 15 digits.
    assert radon["log_radon"][[row - 1 for row in rows]].tolist() == pytest.approx(
        hlmdiag, abs=1e-14
    )
    assert radon["log_radon"].mean() == pytest.approx(1.2246, abs=5e-5)


def test_radon_activities_have_one_decimal_and_no_zero():
    radon = bundled("radon")
    activities = [math.exp(value) for value in radon["log_radon"]]
    # exp loses about |x| ulp, far below 1e-12 here.
    assert all(abs(activity - round(activity, 1)) < 1e-12 for activity in activities)
    assert radon["log_radon"].min() == pytest.approx(math.log(0.1), abs=1e-14)
    # Three houses with activity 0 and one with 0.1.
    assert (radon["log_radon"] < math.log(0.15)).sum() == 4


def test_radon_floor_is_one_on_the_first_floor():
    # rstanarm's help page: 0 = basement, 1 = first floor; mean(rstanarm::radon$floor) is 0.16649.
    radon = bundled("radon")
    assert set(radon["floor"]) == {0, 1}
    assert radon["floor"].sum() == 153


def test_oxide_begins_as_in_nlme():
    oxide = bundled("oxide")
    assert oxide["thickness"].tolist()[:5] == [2006, 1999, 2007, 1980, 1988]
    sources = oxide.groupby("source")["lot"].unique()
    assert [lots.tolist() for lots in sources] == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_oats_begins_as_in_nlme():
    oats = bundled("oats")
    assert oats.iloc[0].tolist() == ["I", "Victory", 0, 111]
    assert oats["yield"].tolist()[:6] == [111, 130, 157, 174, 117, 114]
    assert set(oats["nitro"]) == {0, 0.2, 0.4, 0.6}


def test_pixel_begins_as_in_nlme():
    # Labels of dogs, not positions: dog 2 is the third level of the factor, after 1 and 10.
    pixel = bundled("pixel")
    assert pixel.iloc[0].tolist() == [1, "R", 0, 1045.8]
    assert pixel["day"].tolist()[:8] == [0, 1, 2, 4, 6, 10, 14, 0]
    assert pixel["dog"].tolist()[7] == 2


def test_pastes_casks_are_named_within_their_batch():
    assert set(bundled("pastes")["cask"]) == {"a", "b", "c"}


def test_insteval_codes_are_the_labels_of_the_source():
    # levels() of the factors of lme4::InstEval; their positions would be 1..4 and 1..14.
    insteval = bundled("insteval")
    assert set(insteval["studage"]) == {2, 4, 6, 8}
    assert set(insteval["lectage"]) == {1, 2, 3, 4, 5, 6}
    assert set(insteval["service"]) == {0, 1}
    assert set(insteval["dept"]) == set(range(1, 16)) - {13}
    assert insteval["d"].max() == 2160


def test_grunfeld_is_the_version_with_eleven_firms():
    # The order of first appearance in statsmodels.datasets.grunfeld.
    grunfeld = bundled("grunfeld")
    assert grunfeld["firm"].unique().tolist() == [
        "General Motors",
        "US Steel",
        "General Electric",
        "Chrysler",
        "Atlantic Refining",
        "IBM",
        "Union Oil",
        "Westinghouse",
        "Goodyear",
        "Diamond Match",
        "American Steel",
    ]
    assert grunfeld.iloc[0].tolist() == ["General Motors", 1935, 317.6, 3078.5, 2.8]
