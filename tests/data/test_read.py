import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pyreadstat
import pytest

from hlm_models.config.settings import DataSettings, FileSource
from hlm_models.data.read import read_frame, transform
from hlm_models.errors import InputErrors
from hlm_models.parts import datasets


@pytest.fixture
def frame():
    return pd.DataFrame({"school": ["b", "a", "b"], "score": [1.5, 2.0, None], "n": [3, 1, 2]})


def read(folder, file, **settings):
    data = DataSettings(source=FileSource(file=file), **settings)
    return read_frame(data, folder=folder, data_dir=None)


def problem_of(call, *args, **kwargs):
    with pytest.raises(InputErrors) as caught:
        call(*args, **kwargs)
    (problem,) = caught.value.problems
    return problem


def refused(folder, file):
    return problem_of(read, folder, file)


def write(frame, path):
    suffix = path.suffix.lower()
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".feather":
        frame.to_feather(path)
    elif suffix == ".dta":
        pyreadstat.write_dta(frame, path)
    else:
        pyreadstat.write_sav(frame, path)


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".parquet", ".feather", ".dta", ".sav"])
def test_each_format_comes_back_as_it_was_written(tmp_path, frame, suffix):
    write(frame, tmp_path / f"pupils{suffix}")
    found = read(tmp_path, f"pupils{suffix}")
    pd.testing.assert_frame_equal(found, frame, check_dtype=False)


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_categories_keep_their_order(tmp_path, suffix):
    sizes = pd.Categorical(["l", "s"], categories=["s", "l"])
    write(pd.DataFrame({"size": sizes}), tmp_path / f"x{suffix}")
    assert read(tmp_path, f"x{suffix}")["size"].cat.categories.tolist() == ["s", "l"]


@pytest.mark.parametrize("suffix", [".dta", ".sav"])
def test_values_that_are_all_labelled_become_labels_and_others_stay_numbers(tmp_path, suffix):
    frame = pd.DataFrame({"sex": [1, 0, None], "hours": [0, 3, 2], "twice": [0, 1, 1]})
    writer = pyreadstat.write_dta if suffix == ".dta" else pyreadstat.write_sav
    writer(
        frame.astype({"sex": "float64"}),
        tmp_path / f"x{suffix}",
        variable_value_labels={
            "sex": {0: "female", 1: "male"},
            "hours": {0: "none"},
            "twice": {0: "same", 1: "same"},
        },
    )
    found = read(tmp_path, f"x{suffix}")
    assert found["sex"].tolist()[:2] == ["male", "female"]
    assert found["sex"].isna().tolist() == [False, False, True]
    assert found["sex"].cat.categories.tolist() == ["female", "male"]
    assert found["hours"].tolist() == [0, 3, 2]
    assert found["twice"].tolist() == [0, 1, 1]


def test_stored_index_comes_back_as_a_column(tmp_path, frame):
    frame.set_index("school").to_parquet(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(read(tmp_path, "x.parquet"), frame)


def test_stored_row_numbers_are_left_out(tmp_path, frame):
    frame.loc[[2, 0]].to_parquet(tmp_path / "x.parquet")
    found = read(tmp_path, "x.parquet")
    assert list(found) == list(frame)
    assert found.index.tolist() == [0, 1]


def test_frame_of_the_user_is_indexed_by_place_and_named_by_text(frame):
    mine = frame.rename(columns={"n": 7}).set_axis([5, 5, 9])
    found = transform(mine, DataSettings(source="frame", where="school = 'b'"))
    assert found.index.tolist() == [0, 2]
    assert list(found) == ["school", "score", "7"]
    assert transform(frame.iloc[1:], DataSettings(source="frame")).index.tolist() == [0, 1]


def test_frame_of_the_user_with_a_name_twice_is_refused(frame):
    twice = frame.set_axis(["a", "b", "a"], axis="columns")
    problem = problem_of(transform, twice, DataSettings(source="frame"))
    assert str(problem) == "data: columns that occur twice: a; rename or leave out one of each"


def test_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8-sig")
    assert list(read(tmp_path, "x.csv")) == ["a", "b"]


def test_where_comes_before_derive_and_the_index_stays_the_place_in_the_file(tmp_path, frame):
    write(frame, tmp_path / "x.csv")
    found = read(tmp_path, "x.csv", where="n > 1", derive={"most": "max(n) OVER ()"})
    assert found.index.tolist() == [0, 2]
    assert found["most"].tolist() == [3, 3]


@pytest.mark.parametrize("name", [n for n in datasets.names() if datasets.find(n).path])
def test_bundled_dataset_is_as_its_card_says(name):
    card = datasets.find(name)
    found = read_frame(DataSettings(source=name), folder=None, data_dir=None)
    assert list(found) == [column.name for column in card.columns]
    assert len(found) == card.rows
    levels = {group: len(found.groupby(group.split(":"))) for group in card.groups}
    assert levels == card.groups
    for column in card.columns:
        is_text = isinstance(found[column.name].dtype, pd.StringDtype)
        assert is_text == (column.kind == "label")


def test_label_that_looks_like_a_number_is_text():
    found = read_frame(DataSettings(source="sleepstudy"), folder=None, data_dir=None)
    assert found["subject"].iloc[0] == "308"


def test_names_of_datasets_are_sorted_and_agree_with_their_cards():
    assert list(datasets.names()) == sorted(datasets.names())
    assert all(datasets.find(name).name == name for name in datasets.names())


def test_unknown_dataset_names_the_nearest_and_all():
    problem = problem_of(read_frame, DataSettings(source="radn"), folder=None, data_dir=None)
    assert problem.key == "data.source"
    assert "did you mean 'radon'?" in problem.message
    assert "sleepstudy" in problem.message


def test_file_given_as_a_name_gets_the_repair():
    problem = problem_of(read_frame, DataSettings(source="x.csv"), folder=None, data_dir=None)
    assert "{file: x.csv}" in problem.message


def test_external_dataset_says_what_it_is_and_where_to_put_it(tmp_path):
    nels = DataSettings(source="nels")
    for data_dir, found in ((None, "HLM_DATA is not set"), (tmp_path, str(tmp_path / "nels.csv"))):
        problem = problem_of(read_frame, nels, folder=tmp_path, data_dir=data_dir)
        assert problem.key == "data.source"
        assert found in problem.message
        assert "HLM_DATA" in problem.message
        assert "National Education Longitudinal Study" in problem.message
        assert "\n" not in problem.message


def test_external_dataset_is_read_from_the_data_folder(tmp_path):
    header = "school,enroll,flp,public,urbanicity,hwh,ses,mscore"
    (tmp_path / "nels.csv").write_text(f"{header}\n1011,5,3,1,urban,2,-0.23,52.11\n")
    found = read_frame(DataSettings(source="nels"), folder=tmp_path / "no", data_dir=tmp_path)
    assert found["school"].tolist() == ["1011"]
    assert found["mscore"].tolist() == [52.11]


def test_external_dataset_without_a_column_of_its_card_is_refused(tmp_path):
    (tmp_path / "nels.csv").write_text("school,flp\n1,2\n")
    problem = problem_of(
        read_frame, DataSettings(source="nels"), folder=tmp_path, data_dir=tmp_path
    )
    assert problem.file == str(tmp_path / "nels.csv")
    assert "enroll, public, urbanicity, hwh, ses, mscore" in problem.message


def test_missing_file_names_the_nearest_in_its_folder(tmp_path, frame):
    write(frame, tmp_path / "pupils.csv")
    problem = refused(tmp_path, "pupil.csv")
    assert problem.key == "data.source"
    assert problem.message.endswith("pupil.csv; did you mean 'pupils.csv'?")


def test_missing_folder_is_named(tmp_path):
    assert "there is no folder" in refused(tmp_path, "no/pupils.csv").message


def test_folder_is_not_a_file(tmp_path):
    assert "is a folder" in refused(tmp_path, ".").message


@pytest.mark.parametrize("name", ["x.xlsx", "x", "x.csv.gz"])
def test_unknown_suffix_lists_the_known(tmp_path, name):
    (tmp_path / name).write_text("a\n1\n")
    assert ".csv, .parquet, .feather, .dta, .sav" in refused(tmp_path, name).message


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".dta", ".sav"])
def test_empty_file_is_refused(tmp_path, suffix):
    (tmp_path / f"x{suffix}").touch()
    problem = refused(tmp_path, f"x{suffix}")
    assert str(problem) == f"{tmp_path / f'x{suffix}'}: the file is empty"


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".dta", ".sav"])
def test_unparsable_file_is_refused(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_text("this is not such a file")
    problem = refused(tmp_path, f"x{suffix}")
    assert problem.file == str(tmp_path / f"x{suffix}")
    assert f"not readable as {suffix}" in problem.message
    assert "\n" not in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n", "not readable as .csv"),
        ("a,b\n", "header but no row"),
        ("a,b,a\n1,2,3\n", "occur twice: a"),
        ("a;b\n1;2\n", "separated by commas"),
        ("a\tb\n1\t2\n", "separated by commas"),
        ("a,b\n1,2\n1,2,3\n", "not readable as .csv"),
        ("a,b\n1,2,3\n4,5,6\n", "Expected 2 fields"),
    ],
)
def test_faulty_csv_is_refused(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    problem = refused(tmp_path, "x.csv")
    assert problem.file == str(tmp_path / "x.csv")
    assert message in problem.message


def test_csv_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes("a,b\nMünchen,1\n".encode("latin-1"))
    assert "save it as UTF-8" in refused(tmp_path, "x.csv").message


def test_parquet_with_a_name_twice_or_without_rows_is_refused(tmp_path):
    column = pa.array([1.0])
    table = pa.Table.from_arrays([column, column], names=["a", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    assert "twice: a" in refused(tmp_path, "twice.parquet").message
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "none.parquet")
    assert "no row" in refused(tmp_path, "none.parquet").message
