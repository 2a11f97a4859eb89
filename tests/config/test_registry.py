import subprocess
import sys
from pathlib import Path

import pytest

from hlm_models.config.registry import Registry, Summary, default_folders
from hlm_models.errors import InputErrors


def write(folder: Path, name: str, source: str = "radon") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\nabout: >-\n  One\n  two.\ndata: {{source: {source}}}\nformula: y ~ 1\n"
    )
    return path


def test_names_are_sorted_over_all_folders(tmp_path):
    write(tmp_path / "a", "rail")
    write(tmp_path / "b", "dyestuff")
    (tmp_path / "b" / "schema-1.json").write_text("{}")
    assert Registry([tmp_path / "a", tmp_path / "b"]).names() == ("dyestuff", "rail")


def test_a_model_is_found_by_name(tmp_path):
    path = write(tmp_path, "rail")
    assert Registry([tmp_path]).find("rail") == path


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    write(tmp_path, "radon-slopes")
    with pytest.raises(InputErrors, match=r"no model 'radon-slope'; did you mean 'radon-slopes'\?"):
        Registry([tmp_path]).find("radon-slope")


def test_one_name_in_two_folders_is_refused_with_both_files(tmp_path):
    first, second = write(tmp_path / "a", "rail"), write(tmp_path / "b", "rail")
    registry = Registry([tmp_path / "a", tmp_path / "b"])
    for call in (registry.names, registry.summaries, lambda: registry.find("rail")):
        with pytest.raises(InputErrors) as caught:
            call()
        assert str(first) in str(caught.value)
        assert str(second) in str(caught.value)


def test_one_folder_given_twice_is_no_clash(tmp_path):
    write(tmp_path / "a", "rail")
    folders = [tmp_path / "a", tmp_path / "a" / ".." / "a"]
    assert Registry(folders).names() == ("rail",)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputErrors, match="no such folder of models"):
        Registry([tmp_path / "none"]).names()


def test_summaries_name_the_dataset_or_the_file(tmp_path):
    write(tmp_path, "mine", source="{file: pupils.csv}")
    write(tmp_path, "rail", source="rail")
    assert Registry([tmp_path]).summaries() == (
        Summary("mine", "One two.", "y ~ 1", "pupils.csv"),
        Summary("rail", "One two.", "y ~ 1", "rail"),
    )


def test_broken_files_give_all_their_problems_with_lines(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nformula: y ~ x: z\n")
    (tmp_path / "b.yaml").write_text("name: b\nformula: 3\ndata: radon\n")
    (tmp_path / "c.yaml").write_text("name: c\nname: c\nformula: y ~ 1\ndata: {source: radon}\n")
    with pytest.raises(InputErrors) as caught:
        Registry([tmp_path]).summaries()
    places = [(Path(p.file).name, p.line, p.key) for p in caught.value.problems]
    assert places == [
        ("a.yaml", 2, ""),
        ("b.yaml", 2, "formula"),
        ("b.yaml", 3, "data.source"),
        ("c.yaml", 2, "name"),
    ]


def test_the_zoo_is_found_by_default():
    summaries = Registry(default_folders()).summaries()
    assert {"radon-slopes", "sleepstudy-slopes", "nels-urban-macro"} <= {s.name for s in summaries}
    assert all(summary.about for summary in summaries)


def test_listing_the_zoo_loads_neither_pydantic_nor_numpy_nor_pandas():
    code = (
        "import sys; from hlm_models.config.registry import Registry, default_folders;"
        "assert Registry(default_folders()).summaries();"
        "print(*{'pydantic', 'numpy', 'pandas', 'pymc'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_a_file_that_is_no_model_file_is_told_from_an_unknown_name(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("y\n1\n")
    with pytest.raises(InputErrors, match=r"table\.csv: .*ends in \.yaml"):
        Registry([tmp_path]).find(str(table))
