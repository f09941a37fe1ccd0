"""Units as TextGrids: nothing is lost, praatio reads them, and a tier that does not fit the frames is named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit_makers import files_of, unit_directories
from vqaudio.cli import main
from vqaudio.errors import UserError
from vqaudio.outputs import MARK
from vqaudio.units import UnitsInfo, read_units
from vqaudio.units.conversion import convert
from vqaudio.units.writer import write_units

textgrid = pytest.importorskip("praatio.textgrid", reason="praatio not installed: pip install 'vqaudio[eval]'")

INFO = UnitsInfo.of(sample_rate=16000, hop_length=320, codebook_size=100, groups=2, deduplicated=True)
CODES = np.array([[71, 71, 12, 12], [3, 3, 3, 40]])


@pytest.fixture
def units(tmp_path):
    write_units(tmp_path / "units", INFO, [("a/b", CODES), ("é", CODES[:, 2:])], [("x", "broken")])
    return tmp_path / "units"


@given(unit_directories(), st.sampled_from([(16000, 160), (22050, 256), (16000, 320), (44100, 441)]))
@settings(max_examples=25, deadline=None)
def test_a_unit_directory_comes_back_byte_by_byte(tmp_path_factory, directory, grid):
    folder = tmp_path_factory.mktemp("round")
    info, corpus, failed = directory
    corpus = [(f"{n} {utt}".replace(" ", "_"), codes) for n, (utt, codes) in enumerate(corpus)]
    rated = UnitsInfo.of(
        sample_rate=grid[0],
        hop_length=grid[1],
        codebook_size=info.codebook_size,
        groups=info.groups,
        deduplicated=info.deduplicated,
    )
    write_units(folder / "units", rated, corpus, failed)
    convert(folder / "units", folder / "grids", to="textgrid")
    convert(folder / "grids", folder / "back", to="vqaudio")
    assert files_of(folder / "back") == files_of(folder / "units")


def test_long_utterances_come_back_although_their_times_are_rounded(tmp_path):
    info = UnitsInfo.of(sample_rate=22050, hop_length=256, codebook_size=100, groups=1)
    codes = np.random.default_rng(0).integers(0, 100, (1, 5000)).repeat(4, axis=1)
    write_units(tmp_path / "units", info, [("a", codes)], [])
    convert(tmp_path / "units", tmp_path / "grids", to="textgrid")
    convert(tmp_path / "grids", tmp_path / "back", to="vqaudio")
    assert files_of(tmp_path / "back") == files_of(tmp_path / "units")


def test_praatio_reads_a_tier_of_units_and_one_of_each_group(units, tmp_path):
    convert(units, tmp_path / "grids", to="textgrid")
    assert sorted(files_of(tmp_path / "grids")) == [
        MARK,
        "a%2Fb.TextGrid",
        "failed.txt",
        "units.json",
        "utt2num_frames",
        "é.TextGrid",
    ]
    grid = textgrid.openTextgrid(tmp_path / "grids" / "a%2Fb.TextGrid", includeEmptyIntervals=True)
    assert grid.tierNames == ("units", "group 1", "group 2")
    assert [tuple(entry) for entry in grid.getTier("units").entries] == [
        (0.0, 0.04, "71-3"),
        (0.04, 0.06, "12-3"),
        (0.06, 0.08, "12-40"),
    ]
    assert [tuple(entry) for entry in grid.getTier("group 1").entries] == [(0.0, 0.04, "71"), (0.04, 0.08, "12")]
    assert [tuple(entry) for entry in grid.getTier("group 2").entries] == [(0.0, 0.06, "3"), (0.06, 0.08, "40")]
    assert grid.maxTimestamp == 0.08


def test_phones_are_a_tier_beside_the_units(units, tmp_path, capsys):
    ctm = tmp_path / "phones.ctm"
    ctm.write_text("a/b 1 0.01 0.02 AH\na/b 1 0.0295 0.03 B\na/b 1 0.07 0.05 C\n")
    argv = ["units", "convert", str(units), str(tmp_path / "grids"), "--to", "textgrid", "--alignment", str(ctm)]
    assert main(argv) == 0
    grid = textgrid.openTextgrid(tmp_path / "grids" / "a%2Fb.TextGrid", includeEmptyIntervals=False)
    assert [tuple(entry) for entry in grid.getTier("phones").entries] == [
        (0.01, 0.03, "AH"),
        (0.03, 0.0595, "B"),
        (0.07, 0.08, "C"),
    ]
    assert textgrid.openTextgrid(tmp_path / "grids/é.TextGrid", includeEmptyIntervals=False).tierNames == (
        "units",
        "group 1",
        "group 2",
        "phones",
    )
    convert(tmp_path / "grids", tmp_path / "back", to="vqaudio")
    assert files_of(tmp_path / "back") == files_of(units)
    ctm.write_text("a/b 1 0.01 0.02 AH\na/b 1 0.02 0.03 B\n")
    assert main([*argv[:3], str(tmp_path / "other"), *argv[4:]]) == 2
    assert "a/b: its phones overlap at 0.02 s; correct the alignment" in capsys.readouterr().err
    with pytest.raises(UserError, match="gslm takes no phones; leave out --alignment"):
        convert(units, tmp_path / "gslm", to="gslm", alignment=ctm)


def grid_of(intervals) -> str:
    rows = "".join(f'{start}\n{end}\n"{label}"\n' for start, end, label in intervals)
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n9\n<exists>\n1\n'
    return f'{head}"IntervalTier"\n"units"\n0\n9\n{len(intervals)}\n{rows}'


FOREIGN = UnitsInfo.of(sample_rate=16000, hop_length=64, codebook_size=100, groups=1)


def test_text_grids_of_another_tool_are_read_if_their_times_are_those_of_frames(tmp_path):
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids/b.TextGrid").write_text(grid_of([(0, 0.0081, " 7 "), (0.0081, 0.0119, "8")]))
    (tmp_path / "grids/a.textgrid").write_text(grid_of([(0, 0.004, "9")]))
    (tmp_path / "grids/._a.TextGrid").write_text("of macOS")
    convert(tmp_path / "grids", tmp_path / "units", to="vqaudio", settings=FOREIGN)
    found = {sequence.utt: sequence.units.tolist() for sequence in read_units(tmp_path / "units")}
    assert found == {"a": [[9]], "b": [[7, 7, 8]]}


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ([(0, 0.006, "7")], "interval 1 of 'units' has a boundary at 0.006 s, which is no end of a frame .*move it to"),
        (
            [(0, 0.004, "7"), (0.008, 0.012, "7")],
            "interval 2 .* is from frame 2 to 3, the one before ends at 1; correct",
        ),
        (
            [(0, 0.008, "7"), (0.004, 0.012, "7")],
            "interval 2 .* is from frame 1 to 3, the one before ends at 2; correct",
        ),
        ([(0, 0.004, "")], "interval 1 of 'units' has no units; correct the tier"),
        ([(0, 0.004, "7 8")], "interval 1 of 'units' is labelled '7 8', not with one unit; correct"),
        ([(0, 0.004, "AH")], "interval 1 of 'units': 'AH' is not a number; correct"),
        ([(0, 0.004, "100")], "interval 1 .*: unit 100 lies outside the codebook"),
        ([(0, 1e300, "1")], "interval 1 .* has a boundary at 1e\\+300 s; correct"),
        ([(0, "nan", "1")], "interval 1 .* has a boundary at nan s; correct"),
        ([], "has no tier 'units' with intervals"),
    ],
)
def test_a_tier_that_is_not_of_units_is_named_and_nothing_is_written(tmp_path, intervals, message):
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids/a.TextGrid").write_text(grid_of(intervals))
    with pytest.raises(UserError, match=f"a.TextGrid: {message}") as caught:
        convert(tmp_path / "grids", tmp_path / "units", to="vqaudio", settings=FOREIGN)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["grids"]


def test_a_grid_that_is_missing_or_was_cut_is_noticed(units, tmp_path):
    convert(units, tmp_path / "grids", to="textgrid")
    path = tmp_path / "grids/é.TextGrid"
    text = path.read_text()
    path.write_text(grid_of([(0, 0.02, "12-3")]))
    with pytest.raises(UserError, match=r"é.TextGrid: has 1 frames, not 2 as in .*utt2num_frames"):
        convert(tmp_path / "grids", tmp_path / "back", to="vqaudio")
    path.write_text(text[:200])
    with pytest.raises(UserError, match=r"é.TextGrid: "):
        convert(tmp_path / "grids", tmp_path / "back", to="vqaudio")
    path.unlink()
    with pytest.raises(UserError, match=r"é.TextGrid: cannot be read"):
        convert(tmp_path / "grids", tmp_path / "back", to="vqaudio")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_exists_is_not_written_into(units, tmp_path):
    (tmp_path / "grids").mkdir()
    with pytest.raises(UserError, match="grids: exists"):
        convert(units, tmp_path / "grids", to="textgrid")
    with pytest.raises(UserError, match="lies in the input"):
        convert(units, units / "grids", to="textgrid")


def test_no_id_becomes_a_path(tmp_path):
    write_units(tmp_path / "units", INFO, [("../../x", CODES)], [])
    convert(tmp_path / "units", tmp_path / "in/grids", to="textgrid")
    assert {path.name for path in Path(tmp_path).rglob("*.TextGrid")} == {"%2E.%2F..%2Fx.TextGrid"}
    table = tmp_path / "in/grids/utt2num_frames"
    table.write_text("../../units/units 4\n")
    with pytest.raises(UserError, match=r"in/grids/%2E.%2F..%2Funits%2Funits.TextGrid: cannot be read"):
        convert(tmp_path / "in/grids", tmp_path / "back", to="vqaudio")


def test_ids_that_share_a_file_on_this_system_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vqaudio.units.textgrid.file_name", str.lower)  # as a system without upper case would have it
    write_units(tmp_path / "units", INFO, [("A", CODES), ("a", CODES)], [])
    with pytest.raises(UserError, match=r"'a' and another id share the file .*a.TextGrid; rename one"):
        convert(tmp_path / "units", tmp_path / "grids", to="textgrid")
    assert not (tmp_path / "grids").exists()
