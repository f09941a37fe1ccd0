"""Units as cuts of lhotse: lhotse reads and validates them, and nothing is lost on the way back."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings

from tests import datadirs
from tests.unit_makers import files_of, unit_directories
from vqaudio import audio
from vqaudio.cli import main
from vqaudio.datadir import Utterance, write_utterances
from vqaudio.errors import UserError
from vqaudio.units import UnitsInfo
from vqaudio.units.conversion import convert
from vqaudio.units.writer import write_units

lhotse = pytest.importorskip("lhotse", reason="lhotse not installed: pip install 'vqaudio[lhotse]'")

INFO = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=2, deduplicated=True)
CODES = np.array([[71, 71, 12], [3, 3, 40]])


def write(folder, utts, info=INFO):
    write_units(folder / "units", info, [(utt, CODES[: info.groups]) for utt in utts], [("zz", "broken")])
    return folder / "units"


@given(unit_directories())
@settings(max_examples=25, deadline=None)
def test_a_unit_directory_comes_back_byte_by_byte(tmp_path_factory, directory):
    folder = tmp_path_factory.mktemp("round")
    write_units(folder / "units", *directory)
    audio.write(folder / "a.wav", datadirs.noise(800), 8000)
    utterances = [Utterance(utt, folder / "a.wav", "s") for utt, _ in directory[1]]
    write_utterances(folder / "data", utterances)
    convert(folder / "units", folder / "cuts.jsonl.gz", to="lhotse", data=folder / "data")
    convert(folder / "cuts.jsonl.gz", folder / "back", to="vqaudio")
    assert files_of(folder / "back") == files_of(folder / "units")
    cuts = lhotse.CutSet.from_file(folder / "cuts.jsonl.gz")
    assert [cut.id for cut in cuts] == [utt for utt, _ in directory[1]]


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_lhotse_reads_units_audio_speaker_and_text(tmp_path, name):
    data = datadirs.make(tmp_path)
    units = write(tmp_path, ["s1-b", "s2-c"])
    argv = ["units", "convert", str(units), str(tmp_path / name), "--to", "lhotse", "--data", str(data)]
    assert main(argv) == 0
    first = (tmp_path / name).read_bytes()
    assert main(argv) == 0  # in place of its own file
    assert (tmp_path / name).read_bytes() == first
    cuts = lhotse.CutSet.from_file(tmp_path / name)
    lhotse.validate(cuts)
    one, two = cuts
    assert (one.id, one.start, one.duration, one.num_samples, one.sampling_rate) == ("s1-b", 0.0, 0.5, 4000, 8000)
    assert one.units == [[71, 3], [12, 40]]
    assert one.durations == [2, 1]
    (said,) = two.supervisions
    assert (said.id, said.recording_id, said.speaker, said.text) == ("s2-c", "s2-c", "s2", "one s2-c")
    wav, _ = audio.read(tmp_path / "s1-b .wav")
    np.testing.assert_array_equal(one.load_audio(), wav[None])


def test_one_group_of_plain_units_is_a_flat_list(tmp_path):
    data = datadirs.make(tmp_path)
    plain = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=1)
    convert(write(tmp_path, ["s1-a"], plain), tmp_path / "cuts.jsonl", to="lhotse", data=data)
    (cut,) = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl")
    assert cut.units == [71, 71, 12]
    assert not cut.has_custom("durations")


def test_segments_and_channels_are_places_in_one_recording(tmp_path):
    import soundfile

    wav = np.stack([datadirs.noise(8000), -datadirs.noise(8000) / 2], axis=1)
    soundfile.write(tmp_path / "call.wav", wav, 8000, subtype="FLOAT")
    places = [("s-a", 0.25, 0.5, 0), ("s-b", 0.5, 1.2, 1), ("s-c", 0.0, 0.5, None)]
    utterances = [Utterance(utt, tmp_path / "call.wav", "s", start, end, c) for utt, start, end, c in places]
    write_utterances(tmp_path / "data", utterances)
    convert(write(tmp_path, ["s-a", "s-b", "s-c"]), tmp_path / "cuts.jsonl", to="lhotse", data=tmp_path / "data")
    cuts = list(lhotse.CutSet.from_file(tmp_path / "cuts.jsonl"))
    lhotse.validate(lhotse.CutSet.from_cuts(cuts))
    assert [(cut.start, cut.duration) for cut in cuts] == [(0.25, 0.25), (0.5, 0.5), (0.0, 0.5)]  # at most to its end
    assert [cut.recording_id for cut in cuts] == ["s-a", "s-b", "s-c"]  # a recording for each channel, and for both
    np.testing.assert_array_equal(cuts[0].load_audio(), wav[2000:4000, :1].T)
    np.testing.assert_array_equal(cuts[1].load_audio(), wav[4000:, 1:].T)
    np.testing.assert_array_equal(cuts[2].load_audio(), wav[:4000].T)


def test_cuts_need_the_data_of_all_units(tmp_path, capsys):
    data = datadirs.make(tmp_path)
    units = write(tmp_path, ["s1-a", "s1-d"])
    argv = ["units", "convert", str(units), str(tmp_path / "cuts.jsonl"), "--to", "lhotse"]
    for more, message in [
        ([], "cuts need recordings; give --data DIR"),
        (["--data", str(data)], f"{data}: lacks s1-d of {units}; give the data of these units"),
        (["--data", str(units)], "wav.scp: cannot be read"),
    ]:
        assert main([*argv, *more]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("cuts*"))
    assert main([*argv[:-1], "gslm", "--data", str(data)]) == 2
    assert "gslm takes no data directory; leave out --data" in capsys.readouterr().err
    (data / "text").unlink()
    convert(write(tmp_path / "x", ["s1-a"]), tmp_path / "cuts.jsonl", to="lhotse", data=data)
    (cut,) = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl")
    assert cut.supervisions[0].text is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "not a cut with the custom field units"),
        ('{"id": "a", "custom": {}}', "not a cut with the custom field units"),
        ('{"id": "a", "custom": [1]}', "not a cut with the custom field units"),
        ('{"id": 3, "custom": {"units": [1]}}', "not a cut with the custom field units"),
        ('{"id": "a b", "custom": {"units": [1]}}', "'a b' cannot be an utterance id"),
        ('{"id": "a", "custom": {"units": "1 2"}}', 'a: "units" is not a list of whole numbers'),
        ('{"id": "a", "custom": {"units": [100]}}', "a: unit 100 lies outside the codebook of 100"),
        ("[" * 100_000, "not a cut with the custom field units"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path, line, message, suffix):
    plain = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=1)
    content = f'{{"id": "x", "custom": {{"units": [1, 1]}}}}\n{line}\n'.encode()
    (tmp_path / f"c{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(UserError, match=f"c{suffix}:2: {message}"):
        convert(tmp_path / f"c{suffix}", tmp_path / "units", to="vqaudio", from_="lhotse", settings=plain)
    assert [path.name for path in tmp_path.iterdir()] == [f"c{suffix}"]


def test_a_packed_file_that_was_cut_off_is_refused(tmp_path):
    data = datadirs.make(tmp_path)
    convert(write(tmp_path, ["s1-a"]), tmp_path / "cuts.jsonl.gz", to="lhotse", data=data)
    packed = (tmp_path / "cuts.jsonl.gz").read_bytes()
    for damaged in (packed[:-20], b"no gzip", packed[:40] + b"x" * 20 + packed[60:]):
        (tmp_path / "cuts.jsonl.gz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"cuts.jsonl.gz: cannot be read|cuts.jsonl.gz:1: not a cut"):
            convert(tmp_path / "cuts.jsonl.gz", tmp_path / "back", to="vqaudio")
    assert json.loads(gzip.decompress(packed))["type"] == "MonoCut"
