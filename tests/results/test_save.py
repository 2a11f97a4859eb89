import json
import os
import runpy
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hlm_models as hlm
from hlm_models.errors import InputErrors, ModelMismatchError
from hlm_models.results.fits import PointFit, RandomEstimate
from hlm_models.results.save import load_fit, save_fit

CANNED = Path(__file__).parents[1] / "report" / "canned.py"
canned_posterior = runpy.run_path(str(CANNED))["canned_posterior"]
SUFFIX = {"point": ".json", "posterior": ".nc"}


@pytest.fixture(scope="module")
def fits():
    spec = hlm.build("sleepstudy-slopes")
    point = hlm.fit(spec, engine="reml")
    rng = np.random.default_rng(2)
    return {"point": point, "posterior": canned_posterior(spec, point, rng, draws=50)}


@pytest.fixture(params=list(SUFFIX))
def kind(request):
    return request.param


@pytest.fixture
def saved(kind, fits, tmp_path):
    path = tmp_path / f"fit{SUFFIX[kind]}"
    save_fit(fits[kind], path)
    return path


def same(first, second):
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
        assert not second.flags.writeable
    else:
        assert first == second


@pytest.mark.parametrize("model", ["sleepstudy-slopes", "sleepstudy-uncorrelated", "dyestuff2"])
@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_a_point_fit_comes_back_bit_for_bit(model, engine, tmp_path):
    spec = hlm.build(model)
    fit = hlm.fit(spec, engine=engine, seed=5)
    save_fit(fit, tmp_path / "fit.json")
    again = load_fit(tmp_path / "fit.json", spec)
    assert isinstance(again, PointFit)
    for field in fields(PointFit):
        if field.name not in ("random", "seconds"):
            same(getattr(fit, field.name), getattr(again, field.name))
    for one, other in zip(fit.random, again.random, strict=True):
        for field in fields(RandomEstimate):
            same(getattr(one, field.name), getattr(other, field.name))
    assert dict(again.seconds) == dict(fit.seconds)
    assert (again.loglik, again.aic, again.bic) == (fit.loglik, fit.aic, fit.bic)
    assert again.singular == fit.singular


def test_a_posterior_comes_back_bit_for_bit(fits, tmp_path):
    fit = fits["posterior"]
    save_fit(fit, tmp_path / "fit.nc")
    again = load_fit(tmp_path / "fit.nc", fit.spec)
    assert set(again.data.children) == set(fit.data.children)
    for group in fit.data.children:
        first, second = (one.data[group].to_dataset() for one in (fit, again))
        xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())
        assert {n: v.dtype for n, v in first.items()} == {n: v.dtype for n, v in second.items()}
    for name in ("engine", "sampler", "parameterization", "divergences", "checks", "seed"):
        assert getattr(again, name) == getattr(fit, name)
    assert dict(again.seconds) == dict(fit.seconds)


def test_saving_leaves_the_fit_and_the_folder_as_they_were(kind, fits, saved):
    attributes = dict(fits["posterior"].data.attrs)
    save_fit(fits[kind], saved)
    assert fits["posterior"].data.attrs == attributes
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_saved_posterior_can_be_read_by_xarray_alone(fits, tmp_path):
    save_fit(fits["posterior"], tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        header = json.loads(tree.attrs["hlm_models"])
        assert tree["posterior"]["beta"].dims == ("chain", "draw", "coef")
    assert header["model"] == "sleepstudy-slopes"


def test_the_fit_of_another_model_is_refused(saved):
    with pytest.raises(ModelMismatchError, match="another model"):
        load_fit(saved, hlm.build("sleepstudy-intercept"))


@pytest.mark.parametrize(
    "override",
    [
        "priors.sigma={kind: half_normal}",
        "priors.groups.subject={kind: lkj, eta: 1}",
        "formula=reaction ~ days + (days || subject)",
        "data.where=days < 9",
        "data.derive={day: days, later: days + 1}",
    ],
)
def test_the_fit_of_other_priors_or_rows_is_refused(override, saved):
    other = hlm.build("sleepstudy-slopes", overrides=[override])
    if override.startswith("data.derive"):
        load_fit(saved, other)  # columns that the model does not use change nothing
        return
    with pytest.raises(ModelMismatchError):
        load_fit(saved, other)


def test_settings_of_the_sampler_do_not_make_another_model(saved):
    load_fit(saved, hlm.build("sleepstudy-slopes", overrides=["fit.seed=99", "fit.draws=20"]))


def test_the_fit_of_changed_data_is_refused(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"y": rng.normal(size=40), "g": [f"g{i % 8}" for i in range(40)]})
    fit = hlm.fit(hlm.build(formula="y ~ 1 + (1 | g)", data=frame), engine="reml")
    save_fit(fit, tmp_path / "fit.json")
    load_fit(tmp_path / "fit.json", hlm.build(formula="y ~ 1 + (1 | g)", data=frame))
    value, group = frame.copy(), frame.copy()
    value.loc[17, "y"] = np.nextafter(value.loc[17, "y"], 9)
    group.loc[3, "g"] = "g4"
    for changed in (value, group):
        with pytest.raises(ModelMismatchError, match="other data"):
            load_fit(tmp_path / "fit.json", hlm.build(formula="y ~ 1 + (1 | g)", data=changed))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share, kind, fits, saved):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputErrors, match=r"cannot be read as a fit|not a fit"):
        load_fit(saved, fits[kind].spec)


def test_a_random_file_is_refused(kind, fits, saved):
    for seed in range(5):
        saved.write_bytes(np.random.default_rng(seed).bytes(2000))
        with pytest.raises(InputErrors, match="cannot be read as a fit") as caught:
            load_fit(saved, fits[kind].spec)
        assert str(caught.value).startswith(str(saved))


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '"fit"', '{"format": 2}', '{"format": 1}', '{"format": 1, "a": 2}']
)
def test_json_that_is_no_fit_is_refused(text, fits, tmp_path):
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(InputErrors, match="not a fit"):
        load_fit(tmp_path / "fit.json", fits["point"].spec)


def test_netcdf_that_is_no_fit_is_refused(fits, tmp_path):
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"beta": ("draw", [1.0, 2.0])})})
    tree.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputErrors, match="not a fit"):
        load_fit(tmp_path / "other.nc", fits["posterior"].spec)


def test_a_missing_file_is_refused(kind, fits, tmp_path):
    for path in (tmp_path / f"none{SUFFIX[kind]}", tmp_path):
        with pytest.raises(InputErrors, match="there is no such file") as caught:
            load_fit(path, fits[kind].spec)
        assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file(error, kind, fits, saved, monkeypatch):
    before = saved.read_bytes()

    def half(self, *arguments, **keywords):
        target = arguments[0] if kind == "posterior" else self
        target.write_bytes(b"half")
        raise error

    where, name = (xr.DataTree, "to_netcdf") if kind == "posterior" else (Path, "write_text")
    monkeypatch.setattr(where, name, half)
    with pytest.raises(type(error)):
        save_fit(fits[kind], saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]  # noqa: PTH208


def test_a_failed_first_save_leaves_nothing(kind, fits, tmp_path, monkeypatch):
    def fail(self, *arguments, **keywords):
        raise OSError("disk full")

    where, name = (xr.DataTree, "to_netcdf") if kind == "posterior" else (Path, "write_text")
    monkeypatch.setattr(where, name, fail)
    with pytest.raises(OSError, match="disk full"):
        save_fit(fits[kind], tmp_path / f"fit{SUFFIX[kind]}")
    assert list(tmp_path.iterdir()) == []


def test_a_fit_without_fixed_part_keeps_the_shapes_of_nothing(tmp_path):
    frame = pd.DataFrame({"y": np.arange(12.0) ** 1.5, "g": [*"aabbccddeeff"]})
    spec = hlm.build(formula="y ~ 0 + (1 | g)", data=frame)
    fit = hlm.fit(spec, engine="reml")
    hlm.save_fit(fit, tmp_path / "fit.json")
    again = hlm.load_fit(tmp_path / "fit.json", spec)
    for name in ("beta", "vcov_beta", "df", "vcov_slopes", "vcov_phi", "theta"):
        assert getattr(again, name).shape == getattr(fit, name).shape
