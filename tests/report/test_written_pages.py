"""Where pages are written from Python: a user's mistake has one message."""

import pytest

import hlm_models as hlm


def test_a_page_into_a_missing_folder_says_so(tmp_path):
    with pytest.raises(hlm.InputErrors, match="no such folder"):
        hlm.write_report(hlm.fit("dyestuff", engine="reml"), tmp_path / "gone" / "page.html")
    with pytest.raises(hlm.InputErrors, match="no such folder"):
        hlm.write_prior("dyestuff", tmp_path / "gone" / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_of_a_fit_or_a_run(tmp_path):
    with pytest.raises(hlm.InputErrors, match="takes a fit or a run, not str"):
        hlm.write_report("dyestuff", tmp_path / "page.html")
