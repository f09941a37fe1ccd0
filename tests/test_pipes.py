"""Units and speech through standard input and output: what arrives, in any size, and what is written when."""

import io
import os
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

import vqaudio
from vqaudio.audio.pipes import read_header, read_samples, wav_header
from vqaudio.cli import main
from vqaudio.codec import Codec
from vqaudio.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def codec(model: Path) -> Codec:
    return vqaudio.load(model)


def noise(samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def wav_bytes(wav: np.ndarray, rate: int = 8000, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, rate, format="WAV", **options)
    return buffer.getvalue()


class Arriving(io.BytesIO):
    """Bytes that arrive a few at a time."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(size or 7, 7))


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch):
    def run(content: bytes, *argv: object) -> int:
        source = io.TextIOWrapper(Arriving(content))
        monkeypatch.setattr(sys, "stdin", source)
        return main(list(map(str, argv)))

    return run


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_that_arrives_has_the_samples_of_the_file(subtype: str, channels: int, tmp_path: Path) -> None:
    wav = noise(4002).reshape(-1, channels)
    content = wav_bytes(wav, 11025, subtype=subtype)
    (tmp_path / "a.wav").write_bytes(content)
    source = Arriving(content + b"LIST\x04\x00\x00\x00abcd")
    form, size = read_header(source)
    assert (form.sample_rate, form.channels, size) == (11025, channels, 4002 * form.sample_bytes)
    found = np.concatenate(list(read_samples(source, form, size)))
    np.testing.assert_array_equal(found, vqaudio.audio.read(tmp_path / "a.wav")[0])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_a_header_that_does_not_know_its_size_is_read_to_the_end(size: int) -> None:
    content = bytearray(wav_bytes(noise(1000)))
    content[40:44] = struct.pack("<I", size)
    source = Arriving(bytes(content))
    form, known = read_header(source)
    assert known is None
    assert sum(map(len, read_samples(source, form, known))) == 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a WAV; pipe WAV, or 16-bit samples with --raw HZ"),
        (b"fLaC" + bytes(40), "not a WAV"),
        (b"RIFF\xff\xff\xff\xffWAVE", "a WAV without samples"),
        (b"RIFF\xff\xff\xff\xffWAVEdata\x08\x00\x00\x00" + bytes(8), "a WAV without samples"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x04\x00\x00\x00abcd", "broken header"),
        (wav_bytes(noise(99), subtype="MS_ADPCM"), "a WAV of format 2 with 4 bits"),
        (wav_bytes(noise(1000))[:-10], "ended 10 bytes before the end that its header tells"),
    ],
)
def test_what_is_no_whole_wav_is_refused(content: bytes, message: str) -> None:
    source = Arriving(content)
    with pytest.raises(UserError, match=message):
        list(read_samples(source, *read_header(source)))


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_the_units_of_a_whole_recording_are_those_of_the_file(codec, model, pipe, capfd, tmp_path, kind) -> None:
    soundfile.write(tmp_path / "a", noise(20000), 16000, format=kind)
    assert pipe((tmp_path / "a").read_bytes(), "stream", "encode", "--model", model) == 0
    expected = codec.encode_file(tmp_path / "a")[0]
    assert capfd.readouterr().out == " ".join(map(str, expected)) + "\n"


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("seconds", [0.5, 100])
def test_units_by_the_level_of_the_first_seconds_are_those_of_that_level(
    codec, model, pipe, capfd, raw, seconds
) -> None:
    wav = noise(24000) * np.linspace(1, 3, 24000, dtype=np.float32)
    content = wav_bytes(wav, subtype="PCM_16")
    wav, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    options = ["--level-seconds", seconds, *(["--raw", 8000] if raw else [])]
    assert pipe(content[44:] if raw else content, "stream", "encode", "--model", model, *options) == 0
    level = codec.measure_level(wav[: round(min(3, seconds) * 8000)], 8000)
    expected = codec.encode(wav, 8000, level=level)[0]
    assert capfd.readouterr().out == " ".join(map(str, expected)) + "\n"


@pytest.mark.slow
def test_units_are_printed_and_speech_is_written_before_the_input_ends(model: Path) -> None:
    def start(*argv: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "vqaudio", "stream", *map(str, argv), "--model", str(model)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with start("encode", "--level-seconds", 0.5) as encode, start("decode") as decode:
        encode.stdin.write(wav_header(8000) + (32768 * noise(16000)).astype("<i2").tobytes())
        encode.stdin.flush()
        units = os.read(encode.stdout.fileno(), 1 << 16)
        assert len(units.split()) > 10
        while len(units.split()) < 150:
            units += os.read(encode.stdout.fileno(), 1 << 16)
        decode.stdin.write(units + b" ")
        decode.stdin.flush()
        assert os.read(decode.stdout.fileno(), 1 << 16).startswith(b"RIFF\xff\xff\xff\xffWAVEfmt ")
        for process in (encode, decode):
            process.stdout.close()  # the reader goes, and that is no error
            process.stdin.write(b"1 2 3\n" if process is decode else bytes(32000))
            process.stdin.close()
            assert process.stderr.read() == b""
            assert process.wait() == 0


def test_speech_is_that_of_the_codec_and_a_file_has_a_whole_header(codec, model, pipe, monkeypatch, tmp_path) -> None:
    codes, out = codec.encode(noise(6000), 8000), tmp_path / "a.wav"
    expected, units = codec.decode(codes, "p225"), " ".join(map(str, codes[0])).encode()

    def decode_to(mode: str) -> None:
        with out.open(mode) as file, io.TextIOWrapper(file) as text:
            monkeypatch.setattr(sys, "stdout", text)
            assert pipe(units, "stream", "decode", "--model", model, "--speaker", "p225") == 0

    decode_to("wb")
    with wave.open(str(out)) as file:
        assert file.getnframes() == len(expected)
    found, rate = soundfile.read(out, dtype="float32")
    assert rate == 8000
    np.testing.assert_allclose(found, expected.clip(-1, 1), atol=2**-15)
    decode_to("ab")  # what is there stays
    assert out.stat().st_size == 2 * (44 + 2 * len(expected))
    assert out.read_bytes()[:44] == wav_header(8000, 2 * len(expected))


@pytest.mark.parametrize(
    ("content", "argv", "message"),
    [
        (b"no audio at all", ["encode"], "standard input: cannot be decoded"),
        (b"", ["encode"], "standard input: empty file"),
        (b"", ["encode", "--raw", "8000", "--level-seconds", "1"], "standard input: has no samples"),
        (b"", ["encode", "--level-seconds", "0"], "--level-seconds is 0; give more than 0, such as 3"),
        (b"utt 1 2", ["decode"], "standard input: 'utt' is not a number; give the units of one utterance alone"),
        (b"1 2 99\n", ["decode"], "unit 99 lies outside the codebook of 16"),
        (b"1 2\n3 4\n", ["decode"], "has several lines"),
        (b" \n", ["decode"], "there are no codes to decode"),
    ],
)
def test_a_wrong_input_is_one_line_and_exit_code_2(content, argv, message, pipe, model, capfd) -> None:
    assert pipe(content, "stream", *argv, "--model", model) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_model_without_a_level_prints_units_while_speech_arrives(tmp_path, pipe, capfd) -> None:
    model = save_tiny_model(tmp_path, level_db=None)
    content = wav_bytes(noise(20000), subtype="FLOAT")
    assert pipe(content, "stream", "encode", "--model", model) == 0
    expected = vqaudio.load(model).encode(noise(20000), 8000)[0]
    assert capfd.readouterr().out == " ".join(map(str, expected)) + "\n"
    assert pipe(content, "stream", "encode", "--model", model, "--level-seconds", 1) == 2
    assert "the model takes speech at any level; leave it out" in capfd.readouterr().err


def test_a_terminal_is_no_input(monkeypatch, model, capsys) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["stream", "encode", "--model", str(model)]) == 2
    assert "standard input: is a terminal; pipe audio into the command" in capsys.readouterr().err
