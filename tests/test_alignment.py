import builtins

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
        (text_grid({"phones": INTERVALS}).replace("xmax = 0.25", "xmax = soon"), "not a TextGrid"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path, content, message):
    (tmp_path / "u1.TextGrid").write_text(content)
    with pytest.raises(UserError, match=rf"u1\.TextGrid: {message}"):
        read_alignment(tmp_path / "u1.TextGrid")


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
