import json

import pytest
from jsonschema import Draft202012Validator

from hlm_models.config.load import load_config
from hlm_models.config.located import read_yaml
from hlm_models.config.registry import Registry, default_folders
from hlm_models.config.schema import SCHEMA_FILE, json_schema, schema_text

[ZOO] = default_folders()
FILES = sorted(ZOO.glob("*.yaml"), key=lambda path: path.stem)
VALIDATOR = Draft202012Validator(json_schema())

HEAD = {"schema": 1, "name": "m", "data": {"source": "radon"}, "formula": "log_radon ~ 1"}


def test_the_schema_file_is_up_to_date():
    assert (ZOO / SCHEMA_FILE).read_text() == schema_text(), (
        f"write it anew: hlm schema > configs/{SCHEMA_FILE}"
    )


def test_the_schema_is_a_valid_one():
    Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_zoo_model_loads_and_is_valid_under_the_schema(path):
    config = load_config(path)
    VALIDATOR.validate(read_yaml(path).data)
    VALIDATOR.validate(config.model_dump(by_alias=True, mode="json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_zoo_model_tells_editors_its_schema_and_readers_its_question(path):
    assert path.read_text().startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    assert "?" in load_config(path).about


def test_each_zoo_model_is_listed():
    assert [path.stem for path in FILES] == list(Registry([ZOO]).names())


@pytest.mark.parametrize(
    "more",
    [
        {"colour": "red"},
        {"schema": 2},
        {"family": "poisson"},
        {"residual": "known"},
        {"residual": {"kind": "known"}},
        {"residual": {"sd": "se"}},
        {"fit": {"chains": 0}},
        {"fit": {"chain": 2}},
        {"priors": {"sigma": {"kind": "normal"}}},
        {"priors": {"sigma": {"scale": 2}}},
        {"priors": {"beta": {"kind": "half_normal"}}},
        {"priors": {"groups": {"county": {"kind": "lkj", "sd": {"scale": 1}}}}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_loader_refuses(more):
    VALIDATOR.validate(HEAD)
    assert not VALIDATOR.is_valid(HEAD | more)


@pytest.mark.parametrize(
    "priors",
    [
        {"beta": {"kind": "normal", "scale": "auto"}, "sigma": {"kind": "exponential"}},
        {"beta": {"Intercept": {"kind": "flat"}}},
        {"groups": {"county": {"kind": "lkj", "eta": 1, "sd": {"kind": "half_normal"}}}},
        {"groups": {"county": {"kind": "diagonal", "sd": {"floor": {"kind": "flat"}}}}},
        {"groups": {"county": {"1 | county": {"kind": "diagonal"}}}},
    ],
    ids=str,
)
def test_the_schema_accepts_priors_for_all_or_by_name(priors):
    VALIDATOR.validate(HEAD | {"priors": priors})


@pytest.mark.parametrize("residual", ["iid", {"kind": "iid"}, {"kind": "known", "sd": "se"}])
def test_the_schema_accepts_a_residual_as_a_word_or_with_settings(residual):
    VALIDATOR.validate(HEAD | {"residual": residual})


def test_every_settings_class_has_a_description():
    assert all(part["description"] for part in json_schema()["$defs"].values())
