"""Audio files are read to their end, or refused: sizes in headers, joined files, and segments."""

import contextlib
import errno
import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import audio_makers as make
from tests.audio_makers import RATE, encoded, wav_bytes
from vqaudio import audio
from vqaudio.audio import files as audio_files
from vqaudio.audio.files import ogg
from vqaudio.audio.files.parts import Source, View
from vqaudio.errors import UserError

GIB = 1 << 30
PCM = make.voice(1.5)
RAW = PCM.tobytes()
SIZED = {  # containers whose header declares how much audio there is
    "wav": encoded(PCM, "WAV", "PCM_16"),
    "wav-24": encoded(PCM, "WAV", "PCM_24"),
    "wav-float": encoded(PCM / 32768, "WAV", "FLOAT"),
    "wav-ms-adpcm": encoded(PCM, "WAV", "MS_ADPCM"),
    "wav-ima-adpcm": encoded(PCM, "WAV", "IMA_ADPCM"),
    "wav-gsm": encoded(PCM, "WAV", "GSM610"),
    "wav-g721": encoded(PCM, "WAV", "G721_32"),
    "wavex": encoded(PCM, "WAVEX", "PCM_16"),
    "rifx": encoded(PCM, "WAV", "PCM_16", endian="BIG"),
    "rf64": encoded(PCM, "RF64", "PCM_16"),
    "w64": encoded(PCM, "W64", "PCM_16"),
    "aiff": encoded(PCM, "AIFF", "PCM_16"),
    "aifc": encoded(PCM, "AIFF", "ULAW"),
    "au": encoded(PCM, "AU", "PCM_16"),
    "au-little": encoded(PCM, "AU", "PCM_16", endian="LITTLE"),
    "caf": encoded(PCM, "CAF", "PCM_16"),
    "caf-alac": encoded(PCM, "CAF", "ALAC_16"),
    "sphere": encoded(PCM, "NIST", "PCM_16"),
    "sphere-ulaw": encoded(PCM, "NIST", "ULAW"),
    "voc": encoded(PCM, "VOC", "PCM_16"),
    "mat4": encoded(PCM, "MAT4", "PCM_16"),
    "mat4-big": encoded(PCM, "MAT4", "FLOAT", endian="BIG"),
    "mat5": encoded(PCM, "MAT5", "PCM_16"),
    "mat5-big": encoded(PCM, "MAT5", "DOUBLE", endian="BIG"),
    "avr": encoded(PCM, "AVR", "PCM_16"),
    "svx": encoded(PCM, "SVX", "PCM_16"),
    "wve": encoded(PCM, "WVE", "ALAW", rate=8000),
    "mpc2000": encoded(PCM, "MPC2K", "PCM_16"),
    "flac": encoded(PCM, "FLAC", "PCM_16"),
    "flac-24": encoded(PCM, "FLAC", "PCM_24"),
    "mp3": encoded(PCM, "MP3", "MPEG_LAYER_III"),
}
UNSIZED = {
    "htk": encoded(PCM, "HTK", "PCM_16"),
    "ircam": encoded(PCM, "IRCAM", "PCM_16"),
    "paf": encoded(PCM, "PAF", "PCM_16"),
    "pvf": encoded(PCM, "PVF", "PCM_16"),
    "vorbis": encoded(PCM, "OGG", "VORBIS"),
    "opus": encoded(PCM, "OGG", "OPUS"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all files: each test writes over it."""
    return tmp_path_factory.mktemp("audio")


@pytest.fixture
def read(folder):
    """Read bytes as an audio file; `info` must tell the number of samples that there are."""

    def read(content: bytes, name: str = "a") -> np.ndarray:
        (folder / name).write_bytes(content)
        wav, _ = audio.read(folder / name)
        assert audio.info(folder / name).num_samples == len(wav)
        return wav

    return read


@pytest.fixture
def refuse(folder):
    """Return the message with which bytes are refused, the same for their length and for their samples."""

    def refuse(content: bytes, name: str = "a") -> str:
        (folder / name).write_bytes(content)
        messages = set()
        for action in (audio.info, audio.read):
            with pytest.raises(UserError) as caught:
                action(folder / name)
            messages.add(str(caught.value))
        (message,) = messages
        assert message.startswith(f"{folder / name}: ")
        assert "\n" not in message
        return message.removeprefix(f"{folder / name}: ")

    return refuse


def same(wav: np.ndarray, pcm: np.ndarray = PCM) -> bool:
    return np.array_equal(wav * 32768, pcm)


@pytest.mark.parametrize("name", [*SIZED, *UNSIZED])
def test_the_length_of_every_format_is_that_of_its_samples(read, name):
    wav = read((SIZED | UNSIZED)[name])
    blocks = {"wav-gsm": 320, "wav-g721": 120, "wav-ima-adpcm": 1017}
    assert 0 <= len(wav) - len(PCM) < blocks.get(name, 1)


@pytest.mark.parametrize(
    ("name", "share"),
    [(name, share) for name in SIZED for share in (0.3, 0.6, 0.97) if share < 0.9 or not name.startswith("flac")],
)
def test_less_audio_than_declared_is_refused_with_numbers(refuse, name, share):
    content = SIZED[name]
    message = refuse(content[: int(len(content) * share)])
    assert message.startswith("truncated: ")
    present, declared = (int(word) for word in message.split() if word.isdigit())
    assert 0.2 * share * declared < present < declared
    assert message.endswith("; copy it again")


@pytest.mark.parametrize("size", [3 * GIB, 0x7FFF0000, 0x80000001, 0xFFFF0000, 0x7FFFE000])
def test_a_header_of_gigabytes_over_a_second_of_audio_is_refused(refuse, size):
    assert refuse(wav_bytes(RAW, size)) == f"truncated: {len(RAW)} of {size} bytes of audio are present; copy it again"


@pytest.mark.parametrize(
    ("size", "riff"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF - 36, 0xFFFFFFFF),
        (0x80000000, 0x80000024),
        (0x7FFFFFFF, 0x7FFFFFFF),
        (0x7FFFFFFF - 37, 0x7FFFFFFE),
        (0x7FFFFF00, 0x7FFFFF24),
        (0x7FFFF000, 0x7FFFF024),
        (0x7FFFF000 - 36, 0x7FFFF000),
        (0, 0),
        (0, 36),
    ],
)
def test_a_wav_that_was_written_to_a_pipe_is_read_whole(read, size, riff):
    assert same(read(wav_bytes(RAW, size, riff)))
    assert same(read(wav_bytes(RAW, size, riff, before=b"JUNK" + struct.pack("<I", 4096) + bytes(4096))))


def test_a_tag_before_a_wav_does_not_change_how_it_is_read(read, refuse):
    tag = b"ID3\4\0\0\0\0\0\x05 tag "
    for file in (wav_bytes(RAW), wav_bytes(RAW, 0), wav_bytes(RAW, 0xFFFFFFFF), wav_bytes(RAW, 5000)):
        assert same(read(tag + file))
        assert same(read(tag + tag + file))
    assert "truncated: " in refuse(tag + wav_bytes(RAW[:-5000], len(RAW)))


@pytest.mark.parametrize("excess", [1, 2, 8, 16, 36, 44])
def test_a_size_that_counts_the_header_in_is_read(read, excess):
    assert same(read(wav_bytes(RAW, len(RAW) + excess)))


def test_a_size_that_is_one_byte_worse_is_refused(refuse):
    assert f"{len(RAW)} of {len(RAW) + 45} bytes" in refuse(wav_bytes(RAW, len(RAW) + 45))
    assert f"{len(RAW) - 1} of {len(RAW)} bytes" in refuse(wav_bytes(RAW[:-1], len(RAW)))
    assert "truncated: " in refuse(SIZED["wav-ima-adpcm"][:-1])  # of a block


def test_other_containers_that_were_never_closed_are_read(read):
    rf64, w64, au, caf, aiff = (SIZED[name] for name in ("rf64", "w64", "au", "caf", "aiff"))
    size = rf64.index(b"ds64") + 16
    for value in (0, -1, 2**63 - 1):
        assert same(read(rf64[:size] + struct.pack("<q", value) + rf64[size + 8 :]))
    size = w64.index(b"data") + 16
    for value in (0, 24, 2**63 - 1):
        assert same(read(w64[:size] + struct.pack("<q", value) + w64[size + 8 :]))
    for value in (b"\xff\xff\xff\xff", bytes(4)):
        assert same(read(au[:8] + value + au[12:]))
    size = caf.index(b"data") + 4
    assert same(read(caf[:size] + b"\xff" * 8 + caf[size + 8 :]))
    size = aiff.index(b"SSND") + 4
    for value in (0, 0x7F000000):
        assert same(read(aiff[:size] + struct.pack(">I", value) + aiff[size + 4 :]))


@pytest.mark.parametrize("declared", [0, len(RAW) // 4, len(RAW) - 6000])
def test_audio_after_the_declared_end_is_read(read, declared):
    assert same(read(wav_bytes(RAW, declared)))


@pytest.mark.parametrize(
    "after",
    [
        b"",
        make.LIST_CHUNK,
        b"\0" + make.LIST_CHUNK,
        make.LIST_CHUNK[:20],
        b"id3 " + struct.pack("<I", 300_000) + b"\7" * 300_000,
        b"id3 " + struct.pack("<I", 300_000) + b"\7" * 200_000,
        b"what" + struct.pack("<I", 10_000) + b"\7" * 10_000 + b"ever" + struct.pack("<I", 8) + b"\7" * 8,
        b"TAG" + b"\7" * 125,
        b"APETAGEX" + b"\7" * 100_000,
        bytes(100_000),
        b"\7" * 1000,
    ],
    ids=range(11),
)
def test_what_follows_the_audio_and_is_none_is_left_out(read, refuse, after):
    assert same(read(wav_bytes(RAW, after=after)))
    if after[:4] in (b"LIST", b"what", b"id3 "):  # a header, no sample, and a chunk
        assert "holds no samples" in refuse(wav_bytes(b"", after=after))


def test_two_files_in_one_are_refused(refuse):
    first = wav_bytes(RAW)
    for second in (first, SIZED["aiff"], SIZED["rf64"]):
        assert "a second audio file follows the first" in refuse(first + second)
    more = b"data" + struct.pack("<I", len(RAW)) + RAW
    assert "several chunks of audio" in refuse(wav_bytes(RAW, after=more))
    assert "several chunks of audio" in refuse(wav_bytes(RAW, after=b"what" + struct.pack("<I", 2) + b"\7\7" + more))


@pytest.mark.parametrize(
    ("header", "size", "after"),
    [
        (wav_bytes(b"", 5 * GIB % 2**32), 5 * GIB, b""),
        (wav_bytes(b"", 9 * GIB % 2**32), 9 * GIB, make.LIST_CHUNK),
        (wav_bytes(b"", 0xFFFFFFFF), 5 * GIB, b""),
        (wav_bytes(b"", 0x80000000), 5 * GIB, b""),
        (wav_bytes(b"", 0), 5 * GIB, b""),
        (wav_bytes(b"", 3 * GIB), 3 * GIB, make.LIST_CHUNK),
        (wav_bytes(b"", 0x80000000), 2 * GIB, make.LIST_CHUNK),
        (b".snd" + struct.pack(">5I", 24, 3 * GIB, 3, RATE, 1), 3 * GIB, b""),
        (b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 3, RATE, 1), 5 * GIB, b""),
    ],
    ids=range(9),
)
def test_gigabytes_are_read_to_their_end(folder, header, size, after):
    with (folder / "a").open("wb") as file:  # sparse: the disk holds its ends
        file.write(header + RAW)
        file.seek(len(header) + size - len(RAW))
        file.write(RAW + after)
    wav, _ = audio.read(folder / "a", start=size / 2 / RATE - 1)
    (folder / "a").unlink()
    expected = PCM if header.startswith(b"RIFF") else PCM.byteswap()
    assert np.array_equal(wav * 32768, expected[-RATE:])


def test_more_than_a_header_can_declare_is_refused(folder):
    with (folder / "a").open("wb") as file:
        file.write(wav_bytes(b"", 1).replace(b"RIFF", b"RIFX").replace(struct.pack("<I", 16), struct.pack(">I", 16)))
        file.seek(40)
        file.write(struct.pack(">I", GIB) + RAW)
        file.seek(5 * GIB + 44)
        file.write(RAW)
    with pytest.raises(UserError, match=r"5368\d* bytes of audio are more than its header can declare"):
        audio.info(folder / "a")
    (folder / "a").unlink()


@pytest.mark.parametrize("total", [0, 1, len(PCM) // 2, len(PCM) - 1])
@pytest.mark.parametrize("name", ["flac", "flac-24"])
def test_flac_is_read_to_its_last_frame_whatever_it_declares(read, name, total):
    content = SIZED[name]
    assert same(read(make.with_samples(content, total)))
    tagged = b"ID3\4\0\0\0\0\0\x05 tag " + make.with_samples(content, total) + b"TAG" + bytes(125)
    assert same(read(tagged))


def test_flac_that_declares_more_samples_than_it_has_is_truncated(refuse):
    content = make.with_samples(SIZED["flac"], 2 * len(PCM))
    assert refuse(content) == f"truncated: {len(PCM)} of {2 * len(PCM)} samples are present; copy it again"


def test_flac_whose_last_frame_is_cut_is_refused_once_it_is_decoded(folder):
    (folder / "a").write_bytes(SIZED["flac"][:-200])
    with pytest.raises(UserError, match=r"a: (truncated|cannot be decoded)"):
        audio.read(folder / "a")


def test_the_last_flac_frame_is_found_without_decoding(folder, monkeypatch):
    monkeypatch.setattr(audio_files, "_count", None)
    for seed in range(8):
        wav = make.voice(0.2 + seed, seed)
        (folder / "a").write_bytes(encoded(wav, "FLAC", "PCM_16"))
        assert audio.info(folder / "a").num_samples == len(wav)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_streams_are_read_one_after_the_other(read, subtype):
    links = [encoded(make.voice(0.7 + n, n), "OGG", subtype) for n in range(3)]
    alone = [read(link) for link in links]
    for joined in (b"".join(links), b"".join(links) + b"TAG" + bytes(125), links[0] + b"junk" + links[1] + links[2]):
        assert np.array_equal(read(joined), np.concatenate(alone))
    other = b"".join(make.ogg_page(page, serial=77) for page in make.ogg_pages(links[1]))
    assert np.array_equal(read(links[0] + other), np.concatenate(alone[:2]))


def test_joined_recordings_of_different_kinds_are_refused(refuse):
    mono, stereo = PCM[:8000], np.stack([PCM, PCM], axis=1)[:8000]
    first = encoded(mono, "OGG", "VORBIS")
    message = "2 recordings were joined; number 2 has 16000 Hz and 2 channels, the first 16000 Hz and 1; write each"
    assert message in refuse(first + encoded(stereo, "OGG", "VORBIS"))
    assert "number 2 has 8000 Hz" in refuse(first + encoded(mono, "OGG", "VORBIS", rate=8000))
    mp3s = encoded(mono, "MP3", "MPEG_LAYER_III"), encoded(mono, "MP3", "MPEG_LAYER_III", rate=24000)
    assert "number 2 has 24000 Hz" in refuse(b"".join(mp3s))


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_ogg_without_its_end_mark_is_read(read, name):
    whole = read(UNSIZED[name])
    *pages, last = make.ogg_pages(UNSIZED[name])
    assert np.array_equal(read(b"".join(pages) + make.ogg_page(last, flags=0)), whole)
    for cut in (b"".join(pages), UNSIZED[name][:-20]):  # the last page is lost, or in pieces
        part = read(cut)
        assert 0 < len(part) < len(whole)
        assert np.array_equal(part, whole[: len(part)])


@given(st.binary(max_size=300))
def test_the_checksum_of_a_page_is_the_division_of_polynomials(page):
    assert ogg._crc(page) == make.ogg_checksum(page)


def mp3_of(wav: np.ndarray, mode: str = "VARIABLE", rate: int = RATE) -> tuple[bytes, list[bytes]]:
    content = encoded(wav, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.3)
    return content, list(make.mp3_frames(content))


@pytest.fixture(scope="module")
def quiet_and_loud():
    """Silence and voice: frames of very different sizes."""
    return np.zeros(2 * RATE, np.int16), make.voice(2)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
def test_an_mp3_without_its_xing_header_is_read_whole(read, quiet_and_loud, order, rate, mode):
    _, frames = mp3_of(np.concatenate(quiet_and_loud[::order]), mode, rate)
    wav = read(b"".join(frames[1:]))
    assert len(wav) == (len(frames) - 1) * (1152 if rate == 44100 else 576)
    assert np.array_equal(read(b"".join(frames[1:]) + frames[-1][:-10]), wav)  # the last frame is cut
    assert np.array_equal(read(b"".join(frames[1:]) + bytes(5000)), wav)
    assert np.array_equal(read(b"".join(frames[1:9]) + b"\7" * 3000 + b"".join(frames[9:])), wav)


def test_joined_mp3s_are_read_one_after_the_other(read, refuse):
    (first, frames), (second, more) = (mp3_of(make.voice(1 + n, n)) for n in range(2))
    one, two, untagged = read(first), read(second), read(b"".join(more[1:]))
    tag = b"ID3\4\0\0\0\0\0\x05 tag "
    assert (len(one), len(two)) == (RATE, 2 * RATE)
    for joined in (first + second, tag + first + tag + second, first + b"TAG" + bytes(125) + second):
        assert np.array_equal(read(joined), np.concatenate([one, two]))
    assert np.array_equal(read(first + b"".join(more[1:])), np.concatenate([one, untagged]))
    assert np.array_equal(read(first + frames[-1]), one)  # a header may count one frame less
    assert refuse(first + b"".join(more[:-3])) == (
        f"truncated: {len(more) - 4} of {len(more) - 1} MP3 frames are present; copy it again"
    )


@pytest.mark.parametrize("tagged", [True, False])
def test_an_mp3_in_a_wav_is_read_as_the_mp3(read, tagged):
    content, frames = mp3_of(np.concatenate([PCM, PCM[:100] * 0]))
    content = content if tagged else b"".join(frames[1:])
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 1, 1, 1)
    expected = read(content)
    for file in (wav_bytes(content, form=form), wav_bytes(content, form=form, after=make.LIST_CHUNK)):
        assert np.array_equal(read(file), expected)


def test_reading_an_mp3_is_quiet_and_does_not_depend_on_blocks(folder, capfd):
    for mode in ("VARIABLE", "CONSTANT"):
        (folder / "a").write_bytes(mp3_of(make.voice(12), mode)[0])
        whole, _ = audio.read(folder / "a")
        with soundfile.SoundFile(folder / "a") as file:
            assert np.abs(file.read(dtype="float32") - whole).max() < 1e-6
        for block in (1, 2):
            part, _ = audio.read(folder / "a", start=block, end=block + 1)
            assert np.array_equal(part, whole[block * RATE : (block + 1) * RATE])
    assert capfd.readouterr() == ("", "")


def test_a_fact_chunk_ends_the_last_block(read):
    assert len(read(SIZED["wav-ms-adpcm"])) == len(PCM)
    at = SIZED["wav-ms-adpcm"].index(b"fact") + 8
    for fact in (0, 5, 10**6):  # what cannot be right is not believed
        content = SIZED["wav-ms-adpcm"][:at] + struct.pack("<I", fact) + SIZED["wav-ms-adpcm"][at + 4 :]
        assert len(PCM) <= len(read(content)) < len(PCM) + 1012


def test_a_fact_chunk_says_nothing_about_samples_without_blocks(read):
    fact = b"fact" + struct.pack("<II", 4, len(PCM) - 1)
    assert same(read(wav_bytes(RAW, before=fact)))


@pytest.mark.parametrize("name", ["wav", "wav-ms-adpcm", "wav-gsm", "wav-g721", "flac", "caf-alac", "aiff", "sphere"])
def test_segments_equal_the_whole(folder, name):
    (folder / "a").write_bytes(SIZED[name])
    whole, _ = audio.read(folder / "a")
    for first, last in np.random.default_rng(5).integers(0, len(PCM), (20, 2)):
        first, last = sorted((int(first), int(last) + 1))
        segment, _ = audio.read(folder / "a", start=first / RATE, end=last / RATE)
        assert np.array_equal(segment, whole[first:last])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS", "MPEG_LAYER_III"])
def test_segments_of_a_long_lossy_file_equal_the_whole(folder, subtype):
    kind = "MP3" if subtype.startswith("MPEG") else "OGG"
    (folder / "a").write_bytes(encoded(make.voice(50, rate=8000), kind, subtype, rate=8000))
    whole, _ = audio.read(folder / "a")
    for start in (0.3, 7.7, 29.9, *np.random.default_rng(6).uniform(31, 49, 12).round(4)):
        first = round(start * 8000)
        segment, _ = audio.read(folder / "a", start=start, end=start + 0.5)
        if kind == "OGG" or start < 30:
            assert np.array_equal(segment, whole[first : first + 4000])
        assert np.abs(segment - whole[first : first + 4000]).max() < 1e-6


def test_segments_cross_the_joints_of_joined_files(folder):
    (folder / "a").write_bytes(b"".join(encoded(make.voice(0.5, n), "OGG", "VORBIS") for n in range(3)))
    whole, _ = audio.read(folder / "a")
    for first, last in [(0, 1), (7999, 8001), (4000, 20000), (8000, 16000), (15999, 24000)]:
        segment, _ = audio.read(folder / "a", start=first / RATE, end=last / RATE)
        assert np.array_equal(segment, whole[first:last])


def test_a_file_that_may_not_be_read_is_named_so(folder, monkeypatch):
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    (folder / "a").write_bytes(SIZED["wav"])
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UserError, match="a: permission denied; change the mode or the owner"):
        audio.info(folder / "a")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match="not a plain file"):
        audio.info(tmp_path / "pipe.wav")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=9) | st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6), st.data())
def test_a_view_is_its_pieces_joined(folder, pieces, data):
    (folder / "a").write_bytes(bytes(range(40)))
    pieces = [piece if isinstance(piece, bytes) else range(*sorted(piece)) for piece in pieces]
    joined = b"".join(piece if isinstance(piece, bytes) else bytes(piece) for piece in pieces)
    with Source(folder / "a") as source:
        view = View(source, pieces)
        assert view.seek(0, os.SEEK_END) == len(joined)
        for _ in range(5):
            start, count = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 60))
            assert view.seek(start) == start
            assert view.read(count) == joined[start : start + count]
            assert view.tell() == start + len(joined[start : start + count])


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(sorted(SIZED | UNSIZED)), st.integers(0, 2**32), st.integers(1, 5), st.booleans())
@example("au", 0, 0, True)
def test_damaged_headers_are_read_or_refused(folder, name, seed, edits, cut):
    random = np.random.default_rng(seed)
    content = bytearray((SIZED | UNSIZED)[name])
    values = [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7]
    for _ in range(edits):
        place = int(random.integers(min(len(content), int(random.choice([64, 256, 2048])))))
        value = values[random.integers(len(values))] if random.random() < 0.5 else random.bytes(1)
        content[place : place + len(value) * int(random.integers(2))] = value
    content = content[: int(random.integers(1, len(content)))] if cut else content
    (folder / "damaged").write_bytes(content)
    with contextlib.suppress(UserError):
        info = audio.info(folder / "damaged")
        blocks = audio.blocks(folder / "damaged", info.sample_rate, 1 << 16)
        assert sum(map(len, blocks)) == info.num_samples
