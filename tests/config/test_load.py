from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlm_models.config.load import apply_overrides, config_from_mapping, load_config
from hlm_models.config.settings import FileSource, ModelConfig
from hlm_models.errors import InputErrors
from hlm_models.parts.covariances.lkj import LKJ
from hlm_models.parts.priors.half_normal import HalfNormal
from hlm_models.parts.priors.normal import Normal
from hlm_models.parts.priors.uniform import Uniform

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))

MINIMAL = {"schema": 1, "name": "m", "data": {"source": "radon"}, "formula": "log_radon ~ 1"}

FULL = """\
schema: 1
name: full
about: All keys.
data:
  source: {file: radon.csv}
  where: floor = 1
  derive: {high: CAST(floor AS INTEGER)}
  missing: drop
formula: log_radon ~ high + (1 | county)
macro: {county: [high]}
allow_macro_in_z: true
weights: w
offset: o
contrasts: {f: sum, h: {kind: treatment, reference: b}}
family: gaussian
residual: iid
priors:
  beta: {Intercept: {kind: flat}, high: {kind: normal, loc: 0, scale: 2}}
  groups:
    county:
      1 | county: {kind: lkj, eta: 3, sd: {Intercept: {kind: half_normal, scale: 1e-1}}}
  sigma: {kind: uniform, lower: 0, upper: 5}
fit:
  {sampler: pymc, parameterization: centered, chains: 2, draws: 50, tune: 50, target_accept: 0.99,
   seed: 0, cores: 1}
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    return path


def problems(call, *arguments):
    with pytest.raises(InputErrors) as caught:
        call(*arguments)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_has_exactly_the_problems_of_its_header(path):
    """Each header line is `# LINE: KEY: MESSAGE`; one that ends in `...` is the beginning of it.

    The words after `not valid YAML` are those of the parser, and differ with it.
    """
    header = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    assert header
    found = [line.removeprefix(str(path)).lstrip(": ") for line in problems(load_config, path)]
    assert len(found) == len(header)
    for line, expected in zip(found, header, strict=True):
        promised = expected.removesuffix("...")
        assert line == expected if promised == expected else line.startswith(promised)


def test_a_full_file_is_read_with_every_setting(full):
    config = load_config(full)
    assert config.data.source == FileSource(file="radon.csv")
    assert config.macro == {"county": ("high",)}
    assert config.priors.beta["high"] == Normal(loc=0, scale=2)
    sd = {"Intercept": HalfNormal(scale=0.1)}
    assert config.priors.groups == {"county": {"1 | county": LKJ(eta=3, sd=sd)}}
    assert config.priors.sigma == Uniform(lower=0, upper=5)
    assert config.fit.target_accept == 0.99
    assert config.fit.seed == 0
    assert (config.weights, config.offset, config.contrasts["f"]) == ("w", "o", "sum")
    assert config.contrasts["h"].reference == "b"


def test_a_config_written_out_is_read_back_as_the_same(full):
    config = load_config(full)
    assert config_from_mapping(config.model_dump(by_alias=True)) == config
    assert config_from_mapping(config.model_dump(by_alias=True, mode="json")) == config


def test_a_mapping_has_the_defaults_of_a_file():
    assert config_from_mapping(MINIMAL) == ModelConfig.model_validate(MINIMAL)


def test_a_mapping_may_hold_parts_and_tuples():
    priors = {"beta": Normal(scale=2.0), "groups": {"county": LKJ(eta=3.0)}}
    config = config_from_mapping(MINIMAL | {"priors": priors, "macro": {"county": ("x",)}})
    assert config.priors.beta == Normal(scale=2.0)
    assert config.priors.groups["county"] == LKJ(eta=3.0)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (Normal(), "priors.sigma.kind: normal can be negative, a standard deviation cannot: use "),
        (Uniform(lower=-1, upper=1), "priors.sigma.lower: a standard deviation cannot be negative"),
        (HalfNormal(scale=float("inf")), "priors.sigma.scale: expected a finite number, found inf"),
    ],
)
def test_a_part_in_the_wrong_place_is_refused_as_its_yaml_would_be(sigma, message):
    [problem] = problems(config_from_mapping, MINIMAL | {"priors": {"sigma": sigma}})
    assert problem.startswith(message)


def test_the_file_of_a_mapping_is_named_but_its_stem_is_not_compared():
    config_from_mapping(MINIMAL, file="runs/m-1234/config.yaml")
    [problem] = problems(config_from_mapping, MINIMAL | {"formula": 1}, (), "config.yaml")
    assert problem == "config.yaml: formula: expected text, found 1"


def test_the_mapping_given_is_left_as_it_was():
    fit = {"chains": 4}
    config_from_mapping(MINIMAL | {"fit": fit}, ["fit.chains=2", "fit.draws=20"])
    assert fit == {"chains": 4}


def test_overrides_replace_add_and_create(full):
    overrides = [
        "fit.target_accept=95e-2",
        "data.where=floor = 0",
        "data.source=radon",
        "priors.groups.county.1 | county.eta=1",
        "priors.beta={kind: flat}",
        "fit.cores=",
    ]
    config = load_config(full, overrides)
    assert config.fit.target_accept == 0.95
    assert config.fit.cores is None
    assert config.data.where == "floor = 0"
    assert config.data.source == "radon"
    assert config.priors.groups["county"]["1 | county"].eta == 1
    assert config.priors.beta.kind == "flat"
    assert config_from_mapping(MINIMAL, ["fit.chains=2"]).fit.chains == 2
    assert config_from_mapping(MINIMAL | {"fit": None}, ["fit.chains=2"]).fit.chains == 2


def test_the_later_override_wins():
    assert apply_overrides({}, ["a.b=1", "a.b=2", "a.c=[x]"]) == {"a": {"b": 2, "c": ("x",)}}


def test_a_model_may_be_renamed_by_an_override(full):
    assert load_config(full, ["name=other"]).name == "other"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.chains", "--set: expected key.path=value, found 'fit.chains'"),
        ("=3", "--set: expected key.path=value, found '=3'"),
        ("fit..chains=3", "--set: expected key.path=value, found 'fit..chains=3'"),
        ("formula.x=3", "--set: cannot set formula.x: formula is 'y ~ 1', not a mapping"),
        ("macro.g.0=a", "--set: cannot set macro.g.0: macro.g is a list, not a mapping"),
    ],
)
def test_an_override_that_cannot_be_set_is_refused(override, message):
    data = {"formula": "y ~ 1", "macro": {"g": ["b"]}}
    assert problems(apply_overrides, data, [override]) == [message]


def test_an_override_that_is_not_yaml_is_refused_with_advice():
    [problem] = problems(apply_overrides, {}, ["macro={county: [floor}"])
    assert problem.startswith("--set: not valid YAML: ")
    assert problem.endswith("in 'macro={county: [floor}'; put quotes around the value")


def test_problems_of_files_and_overrides_come_together_each_with_its_place(full):
    full.write_text(FULL.replace("residual: iid", "residual: ar1"))
    found = problems(
        load_config,
        full,
        [
            "fit.chains=four",
            "priors.sigma={kind: student_t}",
            "colour.deep=3",
            "fit.draws",
            "priors.beta.high.scale=-1",
        ],
    )
    assert sorted(line.partition(": ")[0] for line in found) == [
        "--set",
        "--set colour",
        "--set fit.chains",
        "--set priors.beta.high.scale",
        "--set priors.sigma.kind",
        f"{full}:16",
    ]


WORDS = st.sampled_from(
    [
        *("schema", *ModelConfig.model_fields, "source", "file", "FileSource", "fit", "chains"),
        *("beta", "groups", "sigma", "kind", "sd", "scale", "lower", "each", "one"),
        *("normal", "uniform", "half_normal", "lkj"),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=3) | WORDS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4)
)


@settings(max_examples=300, deadline=None)
@given(data=st.dictionaries(WORDS, TREES), priors=st.dictionaries(WORDS, TREES))
def test_any_data_is_either_a_config_or_located_problems(data, priors):
    try:
        found: ModelConfig | InputErrors = config_from_mapping(
            data | {"schema": 1, "priors": priors}
        )
    except InputErrors as error:
        found = error
    if isinstance(found, InputErrors):
        assert found.problems
        assert all(problem.key and problem.message for problem in found.problems)


def test_one_text_is_no_list_of_overrides():
    with pytest.raises(InputErrors, match=r"overrides: overrides are a list .*\['fit.chains=2'\]"):
        apply_overrides({}, "fit.chains=2")
