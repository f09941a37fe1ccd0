import builtins
import subprocess

import pytest

from vqaudio.datadir import Phone, write_ctm
from vqaudio.errors import UserError
from vqaudio.metrics.alignment import default_utt2spk, read_alignment

INTERVALS = [(0.0, 0.1, ""), (0.1, 0.25, "AH0"), (0.25, 0.4, "B"), (0.4, 0.5, "")]
PHONES = [("SIL", 0.0, 0.1), ("AH0", 0.1, 0.15), ("B", 0.25, 0.15), ("SIL", 0.4, 0.1)]


def text_grid(tiers: dict[str, list]) -> str:
    """The long text format, as Praat and aligners write it."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 0.5", "tiers? <exists>"]
    lines += [f"size = {len(tiers)}", "item []:"]
    for n, (name, intervals) in enumerate(tiers.items(), 1):
        lines += [f"    item [{n}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", "        xmax = 0.5", f"        intervals: size = {len(intervals)}"]
        for k, (start, end, label) in enumerate(intervals, 1):
            lines += [f"        intervals [{k}]:", f"            xmin = {start}", f"            xmax = {end}"]
            lines += [f'            text = "{label}"']
    return "\n".join(lines) + "\n"


def rounded(phones: list[Phone]) -> list[tuple]:
    return [(phone.phone, round(phone.start, 6), round(phone.duration, 6)) for phone in phones]


def test_the_phones_tier_is_read_and_empty_intervals_are_silence(tmp_path):
    path = tmp_path / "u1.TextGrid"
    path.write_text(text_grid({"words": [(0.0, 0.5, "a b")], "phones": INTERVALS}))
    alignment = read_alignment(path)
    assert list(alignment) == ["u1"]
    assert rounded(alignment["u1"]) == PHONES


@pytest.mark.parametrize("name", ["phone", "MAU", "anything"])
def test_other_names_do_when_they_are_known_or_alone(tmp_path, name):
    (tmp_path / "u1.TextGrid").write_text(text_grid({name: INTERVALS}))
    assert rounded(read_alignment(tmp_path / "u1.TextGrid")["u1"]) == PHONES


def test_a_folder_is_read_with_the_folders_in_it(tmp_path):
    for utt in ("s1/a", "s2/b"):
        (tmp_path / utt).parent.mkdir()
        (tmp_path / f"{utt}.TextGrid").write_text(text_grid({"phones": INTERVALS}))
    assert {utt: rounded(phones) for utt, phones in read_alignment(tmp_path).items()} == {"a": PHONES, "b": PHONES}
    (tmp_path / "s2" / "a.textgrid").write_text(text_grid({"phones": INTERVALS}))
    with pytest.raises(UserError, match=r"a\.textgrid: a second TextGrid of a"):
        read_alignment(tmp_path)


def test_anything_else_is_a_ctm(tmp_path):
    phones = {"u1": [Phone(0.0, 0.1, "A")]}
    write_ctm(tmp_path / "phones.ctm", phones)
    assert read_alignment(tmp_path / "phones.ctm") == phones


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text_grid({"words": INTERVALS, "letters": INTERVALS}), "which of the tiers .'letters', 'words'. holds phones"),
        ("no grid at all", "not a TextGrid"),
        (text_grid({"phones": INTERVALS}).replace('"IntervalTier"', '"Tier"'), "which of the tiers .. holds phones"),
        (text_grid({"phones": INTERVALS}).replace("xmax = 0.25", "xmax = soon"), "not a TextGrid"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path, content, message):
    (tmp_path / "u1.TextGrid").write_text(content)
    with pytest.raises(UserError, match=rf"u1\.TextGrid: {message}"):
        read_alignment(tmp_path / "u1.TextGrid")


def test_bounds_of_rounded_floats_are_read(tmp_path):
    noisy = [(0.0, 0.1, ""), (0.1, 0.25000000000000006, "AH0"), (0.25, 0.4, "B"), (0.39999999999999997, 0.5, "")]
    (tmp_path / "u1.TextGrid").write_text(text_grid({"words": [(0.0, 0.5, "a")], "phones": noisy}))
    assert rounded(read_alignment(tmp_path / "u1.TextGrid")["u1"]) == PHONES


def test_overlaps_gaps_and_intervals_without_length_are_read_as_in_a_ctm(tmp_path):
    odd = [(0.0, 0.15, ""), (0.1, 0.1, "T"), (0.1, 0.25, "AH0"), (0.3, 0.4, "B")]
    (tmp_path / "u1.TextGrid").write_text(text_grid({"phones": odd}))
    (tmp_path / "u1.ctm").write_text("".join(f"u1 1 {a} {b - a:.2f} {label or 'SIL'}\n" for a, b, label in odd))
    grid, ctm = read_alignment(tmp_path / "u1.TextGrid"), read_alignment(tmp_path / "u1.ctm")
    assert rounded(grid["u1"]) == rounded(ctm["u1"])
    assert len(grid["u1"]) == 4


def test_intervals_in_any_order_are_sorted_and_an_empty_tier_has_no_phones(tmp_path):
    (tmp_path / "u1.TextGrid").write_text(text_grid({"phones": INTERVALS[::-1]}))
    (tmp_path / "u2.TextGrid").write_text(text_grid({"phones": []}))
    alignment = read_alignment(tmp_path)
    assert rounded(alignment["u1"]) == PHONES
    assert alignment["u2"] == []


def test_an_interval_that_ends_before_it_begins_is_an_error_with_tier_and_time(tmp_path):
    (tmp_path / "u1.TextGrid").write_text(text_grid({"phones": [(0.0, 0.1, ""), (0.4, 0.1, "B")]}))
    with pytest.raises(UserError, match=r"u1\.TextGrid: tier .phones.: an interval begins at 0\.4 s and ends at 0\.1"):
        read_alignment(tmp_path / "u1.TextGrid")


def test_the_error_about_bad_grids_of_a_folder_is_one_line_with_the_first_and_their_number(tmp_path):
    for name in ("a", "c"):
        (tmp_path / f"{name}.TextGrid").write_text("no\ngrid\n")
    (tmp_path / "b.TextGrid").write_text(text_grid({"phones": INTERVALS}))
    with pytest.raises(UserError, match=r"a\.TextGrid: not a TextGrid .*\(and 1 more of 3 TextGrids") as raised:
        read_alignment(tmp_path)
    assert "\n" not in str(raised.value)


def test_twins_that_macos_makes_are_passed_over(tmp_path):
    (tmp_path / "u1.TextGrid").write_text(text_grid({"phones": INTERVALS}))
    (tmp_path / "._u1.TextGrid").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    assert list(read_alignment(tmp_path)) == ["u1"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_grids_are_read_in_the_encodings_that_praat_writes(tmp_path, encoding):
    content = text_grid({"phones": [(0.0, 0.5, "ʌ")]}).replace("\n", "\r\n")
    (tmp_path / "u1.TextGrid").write_bytes(content.encode(encoding))
    assert read_alignment(tmp_path / "u1.TextGrid") == {"u1": [Phone(0.0, 0.5, "ʌ")]}


def test_two_tiers_of_the_same_name_are_unclear(tmp_path):
    grid = text_grid({"phones": INTERVALS, "other": INTERVALS}).replace('"other"', '"phones"')
    (tmp_path / "u1.TextGrid").write_text(grid)
    with pytest.raises(UserError, match=r"which of the tiers .'phones', 'phones'. holds phones is unclear"):
        read_alignment(tmp_path / "u1.TextGrid")


def test_comments_of_nist_and_empty_lines_in_a_ctm_are_passed_over(tmp_path):
    (tmp_path / "phones.ctm").write_text(";; made by an aligner\nu1 1 0.0 0.1 A\n\n;; end\nu1 1 0.1 0.1 B\n")
    assert read_alignment(tmp_path / "phones.ctm") == {"u1": [Phone(0.0, 0.1, "A"), Phone(0.1, 0.1, "B")]}


def test_the_cure_for_carriage_returns_works_on_a_single_ctm(tmp_path):
    path = tmp_path / "phones.ctm"
    path.write_bytes(b"u1 1 0.0 0.1 A\r\nu1 1 0.1 0.1 B\r\n")
    with pytest.raises(UserError) as raised:
        read_alignment(path)
    message = str(raised.value)
    cure = message[message.index("(sed") + 1 : message.index(")")]
    assert "data validate" not in message
    subprocess.run(["bash", "-c", cure], check=True)
    assert len(read_alignment(path)["u1"]) == 2


def test_missing_files_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"no\.TextGrid: cannot be read"):
        read_alignment(tmp_path / "no.TextGrid")
    with pytest.raises(UserError, match=r"holds no \.TextGrid"):
        read_alignment(tmp_path)


def test_without_praatio_the_error_says_what_to_install(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("praatio"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install "vqaudio\[eval\]"'):
        read_alignment(tmp_path / "u1.TextGrid")


def test_speakers_are_looked_for_in_the_folder_and_beside_it(tmp_path):
    folder = tmp_path / "grids"
    folder.mkdir()
    assert default_utt2spk(folder) is None
    (tmp_path / "utt2spk").touch()
    assert default_utt2spk(folder) == default_utt2spk(tmp_path / "phones.ctm") == tmp_path / "utt2spk"
    (folder / "utt2spk").touch()
    assert default_utt2spk(folder) == folder / "utt2spk"
