"""Files whose header tells no length, or a wrong one: all is read, or the file is refused."""

import struct

import numpy as np
import pytest
import soundfile

from speechlm.data import audio
from speechlm.data.mpeg_frames import parse_frame

RATE = 16000
DELAY = 529  # samples that a decoder of MP3 is late, and that are taken away
ID3V1 = b"TAG" + bytes(125)
ID3V2 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256)
APE_ITEMS = struct.pack("<II", 4, 0) + b"Name\x00SOME"
APE_FOOTER = b"APETAGEX" + struct.pack("<IIII", 2000, len(APE_ITEMS) + 32, 1, 1 << 31) + bytes(8)
APE_HEADER = APE_FOOTER[:20] + struct.pack("<I", 1 << 31 | 1 << 29) + bytes(8)
APE = APE_HEADER + APE_ITEMS + APE_FOOTER
APE_1 = APE_ITEMS + APE_FOOTER[:20] + bytes(12)
LYRICS = b"LYRICSBEGININD0000200" + b"000027LYRICS200"
TAGS = {"id3v1": ID3V1, "id3v2": ID3V2, "ape": APE, "ape1": APE_1, "lyrics": LYRICS + ID3V1}


@pytest.fixture
def make(tmp_path, helpers):
    """Content of a file of a format: 3 s, or another length, of noise."""

    def content(kind, seconds=3.0, seed=0, rate=RATE, **options):
        path = tmp_path / f"made{seed}"
        wave = helpers.tone(seconds + 1e-6, rate, seed)
        soundfile.write(path, wave, rate, format=kind, **options)
        return path.read_bytes()

    return content


@pytest.fixture
def save(tmp_path):
    def path_of(content):
        path = tmp_path / "a file"
        path.write_bytes(content)
        return path

    return path_of


def frames(content):
    """The frames of MP3 that begins with one."""
    found, at = [], 0
    while (frame := parse_frame(bytes(content[at : at + 4]))) is not None:
        found.append(bytes(content[at : at + frame.size]))
        at += frame.size
    return found


def info_at(content):
    return max(content.find(b"Info"), content.find(b"Xing"))


def with_count(content, count, n_bytes=None):
    """MP3 whose header promises another number of frames, and of bytes."""
    changed, at = bytearray(content), info_at(content)
    assert content[at + 7] & 3 == 3
    changed[at + 8 : at + 12] = struct.pack(">I", count)
    if n_bytes is not None:
        changed[at + 12 : at + 16] = struct.pack(">I", n_bytes)
    return bytes(changed)


def n_of(path):
    """The number of samples of a file, which all readers agree on."""
    n = audio.check_audio(path).n_samples
    assert audio.check_audio(path, quick=True).n_samples == n
    waveform, _ = audio.decode_any(path)
    assert len(waveform) == n
    rate = audio.read_header(path).rate
    np.testing.assert_array_equal(audio.read_audio(path, rate), waveform)
    late = audio.read_audio(path, rate, n - 10)
    np.testing.assert_array_equal(late, waveform[n - 10 :])
    with pytest.raises(ValueError, match=f"it has 0..{n}$"):
        audio.read_audio(path, rate, n - 10, n + 1)
    for start, stop in ((0, n), (0, 1000), (n - 1000, n), (n // 2, n // 2 + 5)):
        part = audio.read_audio(path, rate, start, stop)
        np.testing.assert_array_equal(part, waveform[start:stop])
    return n


def refused(path, kind, reason):
    for reader in (
        audio.check_audio,
        lambda p: audio.check_audio(p, quick=True),
        audio.decode_any,
        audio.read_audio,
    ):
        with pytest.raises(kind, match=reason):
            reader(path)


# MP3


@pytest.mark.parametrize(
    "options",
    [{}, {"bitrate_mode": "VARIABLE"}, {"bitrate_mode": "CONSTANT", "compression_level": 0.9}],
)
@pytest.mark.parametrize("rate", [16000, 44100, 8000])
def test_mp3_with_a_true_header_has_its_own_length(make, save, options, rate):
    if "compression_level" not in options and options:
        options = options | {"compression_level": 0.5}
    content = make("MP3", rate=rate, **options)
    n_samples = 3 * rate
    if info_at(content) < 0:  # the frames are too small for a header
        n_samples = len(frames(content)) * 576 - DELAY
    assert n_of(save(content)) == n_samples
    assert audio.check_audio(save(content)).note == ""


@pytest.mark.parametrize("rate", [16000, 44100])
def test_mp3_without_a_header(make, save, rate):
    content = make("MP3", rate=rate)
    rest = frames(content)[1:]
    n = n_of(save(b"".join(rest)))
    assert n == len(rest) * (576 if rate == 16000 else 1152) - DELAY >= 3 * rate


def test_mp3_of_another_bit_rate_in_each_frame(make, save):
    """The first frame is of silence, from whose size libsndfile's guess is far off."""
    quiet = np.zeros(2 * RATE)
    loud = np.random.default_rng(0).standard_normal(2 * RATE) * 0.1
    for wave in (np.concatenate([quiet, loud]), np.concatenate([loud, quiet])):
        path = save(b"")
        options = {"bitrate_mode": "VARIABLE", "compression_level": 0.1}
        soundfile.write(path, wave, RATE, format="MP3", **options)
        rest = frames(path.read_bytes())[1:]
        assert len({len(frame) for frame in rest}) > 1
        assert n_of(save(b"".join(rest))) == len(rest) * 576 - DELAY


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999, 1.001, 2])
def test_mp3_whose_header_misstates_its_frames(make, save, share):
    """The bytes that the header promises are there, so that nothing is missing."""
    content = make("MP3")
    n_frames = len(frames(content)) - 1
    count = n_frames + 1 if share == 1.001 else int(share * n_frames)
    path = save(with_count(content, count, len(content)))
    assert n_of(path) == 48000
    note = audio.check_audio(path).note
    assert note == (f"its header promises {count} MPEG frames, found {n_frames}" if count else "")


def test_mp3_whose_header_has_no_count(make, save):
    content = bytearray(make("MP3"))
    content[info_at(content) + 7] = 0
    assert n_of(save(content)) >= 48000


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_mp3_with_a_vbri_header(make, save, share):
    first, *rest = frames(make("MP3"))
    header = bytearray(first[:4].ljust(len(first), b"\0"))
    header[36:54] = struct.pack(">4sHHHII", b"VBRI", 1, 0, 75, 0, int(share * len(rest)))
    assert n_of(save(bytes(header) + b"".join(rest))) == 576 * len(rest) - DELAY


@pytest.mark.parametrize("count", [0x7FFFFFFF, 0xFFFFFFFF])
def test_mp3_with_a_placeholder(make, save, count):
    content = make("MP3")
    assert n_of(save(with_count(content, count, count))) == 48000
    assert n_of(save(with_count(content, count))) == 48000


def test_mp3_with_a_header_that_libsndfile_does_not_see(make, save):
    """It wants zeros before the header; others write a checksum there."""
    content = bytearray(make("MP3"))
    n_side = info_at(content) - 4
    content[4 : 4 + n_side] = bytes(range(1, 1 + n_side))
    assert n_of(save(content)) == 48000
    first = frames(content)[0]
    protected = bytes([first[0], first[1] & 0xFE]) + first[2:4] + bytes(n_side)
    rest = first[4 + n_side : -2] + bytes(content[len(first) :])
    assert n_of(save(protected + b"ab" + rest)) == 48000


def test_mp3_whose_header_takes_too_much_away(make, save):
    content = bytearray(make("MP3"))
    at = content.find(b"LAME") + 21
    assert int.from_bytes(content[at : at + 3], "big") >> 12 == 576
    content[at : at + 3] = b"\xff\xff\xff"
    assert n_of(save(content)) >= 48000


def test_mp3_that_begins_in_the_middle(make, save):
    """Its first frames need bits of frames that are not there: they count all the same."""
    pieces = frames(make("MP3"))
    assert n_of(save(b"".join(pieces[20:]))) == 576 * len(pieces[20:]) - DELAY


def test_mp3_that_is_cut_off(make, save):
    content = make("MP3")
    pieces = frames(content)
    at_a_frame = b"".join(pieces[: len(pieces) // 2])
    refused(save(at_a_frame), audio.TruncatedAudio, "its header promises .* MPEG frames")
    refused(save(at_a_frame + pieces[-1][:20]), audio.TruncatedAudio, "inside of its last MPEG")
    refused(save(content[: len(content) // 3]), audio.TruncatedAudio, "MPEG frame")
    refused(save(b"".join(pieces[1:])[:-5]), audio.TruncatedAudio, "inside of its last MPEG frame")
    many = with_count(content, 2 * len(pieces), 2 * len(content))
    refused(save(many), audio.TruncatedAudio, f"promises {2 * len(pieces)} MPEG frames")
    no_count = with_count(at_a_frame, 0)
    refused(save(no_count), audio.TruncatedAudio, f"promises [?] MPEG frames and {len(content)}")


@pytest.mark.parametrize("between", [b"", *TAGS.values()], ids=["nothing", *TAGS])
def test_mp3_streams_one_after_the_other(make, save, between):
    first, second = make("MP3", 2, 1), make("MP3", 1, 2)
    path = save(ID3V2 + first + between + second + between)
    assert n_of(path) == 48000
    assert audio.check_audio(path).note == "2 streams one after the other"
    alone = [audio.decode_any(save(content))[0] for content in (first, second)]
    together = audio.decode_any(save(first + between + second))[0]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("between", [b"", *TAGS.values()], ids=["nothing", *TAGS])
def test_mp3_streams_without_headers_one_after_the_other(make, save, between):
    slow = make("MP3", 2, 1, bitrate_mode="CONSTANT", compression_level=0.99)
    fast = make("MP3", 1, 2, bitrate_mode="CONSTANT", compression_level=0.1)
    first, second = frames(slow)[1:], frames(fast)[1:]
    assert len(first[3]) != len(second[3])
    n = n_of(save(b"".join([*first, between, *second, between])))
    assert n == 576 * (len(first) + len(second)) - DELAY


def test_mp3_that_changes_its_format_is_refused(make, save):
    first, second = make("MP3", 1), make("MP3", 1, rate=44100)
    refused(save(first + second), audio.UnreadableAudio, "changes from 16000 Hz.*44100")
    bare = b"".join(frames(first)[1:] + frames(second)[1:])
    refused(save(bare), audio.UnreadableAudio, "changes from layer 3, 16000 Hz.*44100")


def test_mp3_with_something_else_in_it_is_refused(make, save):
    content = make("MP3")
    pieces = frames(content)
    for odd in (b"no frame at all", make("FLAC"), pieces[5][:-7]):
        joined = b"".join([*pieces[:20], odd, *pieces[20:]])
        refused(save(joined), audio.UnreadableAudio, "at byte .* no MPEG frame|damaged")
        refused(save(content + odd), audio.AudioError, "MPEG frame")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_mp3_of_few_frames(make, save, n):
    """The shortest ones are read, or refused."""
    path = save(b"".join(frames(make("MP3"))[10 : 10 + n]))
    try:
        assert len(audio.read_audio(path)) == 576 * n - DELAY
    except audio.UnreadableAudio:
        assert n == 1


@pytest.mark.parametrize("kind", ["MP3", "OGG"])
def test_tags_that_go_on_behind_the_end(make, save, kind):
    content = make(kind)
    for tag in (ID3V2[:-1], b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + content, APE_HEADER):
        refused(save(content + tag), audio.TruncatedAudio, "tag at byte .* is not whole")


@pytest.mark.parametrize("layer", [1, 2])
def test_mpeg_of_other_layers(save, layer):
    """Frames of zero bits are silence; libsndfile guesses from the first one's size."""
    heads = [bytes([0xFF, 0xFF if layer == 1 else 0xFD, index << 4, 0xC0]) for index in (2, 8)]
    few, many = (head.ljust(parse_frame(head).size, b"\0") for head in heads)
    samples = 384 if layer == 1 else 1152
    assert audio.read_header(save(few * 50)).n_samples == 50 * samples
    with pytest.raises(audio.UnreadableAudio, match=f"layer {layer}.*libsndfile"):
        audio.read_header(save(many * 50 + few * 200))


# Ogg


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg(request, make):
    def content(seconds=3.0, seed=0, rate=RATE):
        return make("OGG", seconds, seed, rate, subtype=request.param)

    return content


def with_sum(page):
    """The page with its checksum computed bit by bit."""
    page, crc = page[:22] + bytes(4) + page[26:], 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def pages(content):
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


def test_ogg_has_its_own_length(ogg, save):
    path = save(ogg())
    assert n_of(path) == 48000
    assert n_of(save(ogg() + ID3V1 + bytes(1000))) == 48000


def test_ogg_streams_one_after_the_other(ogg, save):
    contents = [ogg(1, 1), ogg(2, 2), ogg(1, 3)]
    alone = [audio.decode_any(save(content))[0] for content in contents]
    path = save(b"".join(contents))
    assert n_of(path) == 64000
    np.testing.assert_array_equal(audio.decode_any(path)[0], np.concatenate(alone))
    assert audio.check_audio(path).note == "3 streams one after the other"
    refused(save(ogg(1, 1) + ogg(1, 2, 8000)), audio.UnreadableAudio, "changes from 16000 Hz")


def test_ogg_that_is_cut_off(ogg, save):
    content = ogg()
    pieces = pages(content)
    assert len(pieces) > 3
    refused(save(content[:-10]), audio.TruncatedAudio, "inside of its last Ogg page")
    refused(save(b"".join(pieces[:-1])), audio.TruncatedAudio, "no end-of-stream page")
    chained = b"".join(pieces[:-1]) + ogg(1, 2)
    refused(save(chained), audio.AudioError, "stream 1 of 2 has no end-of-stream page")


def test_ogg_with_something_missing_or_between(ogg, save):
    content = ogg(20)
    pieces = pages(content)
    missing = b"".join(pieces[:4] + pieces[5:])
    refused(save(missing), audio.UnreadableAudio, "Ogg page 4 of its stream expected")
    refused(save(content + b"behind"), audio.UnreadableAudio, "no Ogg page")
    for at in (30, len(content) // 2, len(content) - 5):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        refused(save(damaged), audio.UnreadableAudio, "checksum of the Ogg page")
    with_flac = with_sum(pieces[0].replace(b"\x01vorbis", b"\x7fFLAC\x01\x00"))
    with_flac = with_sum(with_flac.replace(b"OpusHead", b"\x7fFLAC\x01\x00\x00"))
    refused(save(with_flac + b"".join(pieces[1:])), audio.UnreadableAudio, "FLAC in Ogg")
    other = pages(ogg(1, 2))
    refused(save(pieces[0] + other[0] + content), audio.UnreadableAudio, "side by side")


# FLAC


def with_length(content, n, md5=True):
    """FLAC whose header promises another number of samples, with or without the checksum."""
    changed = bytearray(content)
    changed[21] = changed[21] & 0xF0 | n >> 32
    changed[22:26] = struct.pack(">I", n & 0xFFFFFFFF)
    if not md5:
        changed[26:42] = bytes(16)
    return bytes(changed)


@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("n", [0, 1, 4096, 24000, 47999])
@pytest.mark.parametrize("before", [b"", ID3V2])
def test_flac_whose_header_promises_less(make, save, n, md5, subtype, before):
    path = save(before + with_length(make("FLAC", subtype=subtype), n, md5))
    assert n_of(path) == 48000
    info = audio.check_audio(path)
    assert not info.plain
    assert info.note == (f"its header promises {n} samples, found 48000" if n else "")
    quick = audio.check_audio(path, quick=True)
    assert (quick.plain, quick.note) == (info.plain, info.note)


def test_flac_whose_header_promises_more_is_refused(make, save):
    """The checksum tells whether something is missing."""
    content = make("FLAC")
    more = with_length(content, 50000)
    refused(save(more), audio.TruncatedAudio, "wrong length in the header: 50000.*48000, which is")
    more = with_length(content, 50000, md5=False)
    refused(save(more), audio.TruncatedAudio, "truncated or damaged: 50000 samples promised")
    refused(save(content[:-9000]), audio.TruncatedAudio, "truncated or damaged")


@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_flac_with_tags_behind(make, save, tag, md5):
    content = make("FLAC")
    assert n_of(save(with_length(content, 0, md5) + tag)) == 48000
    for before in (b"", ID3V2):
        path = save(before + with_length(content, 48000, md5) + tag)
        assert n_of(path) == 48000
        assert audio.check_audio(path).plain
    assert n_of(save(content + bytes(4096))) == 48000


@pytest.mark.parametrize("between", [b"", *TAGS.values()], ids=["nothing", *TAGS])
@pytest.mark.parametrize("n", [None, 0])
def test_flac_streams_one_after_the_other(make, save, between, n):
    first, second = make("FLAC", 2, 1), make("FLAC", 1, 2)
    if n == 0:
        first, second = with_length(first, 0, False), with_length(second, 0)
    path = save(first + between + second + between)
    assert n_of(path) == 48000
    info = audio.check_audio(path)
    assert not info.plain
    assert info.note.startswith("2 streams one after the other")
    assert not audio.check_audio(path, quick=True).plain


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9, 0.99999])
@pytest.mark.parametrize("md5", [True, False])
def test_flac_without_a_length_that_is_cut_off(make, save, share, md5):
    content = with_length(make("FLAC"), 0, md5)
    refused(save(content[: int(share * len(content))]), audio.AudioError, "truncated|damaged")


def test_flac_whose_second_stream_is_cut_off(make, save):
    first, second = make("FLAC", 2, 1), make("FLAC", 1, 2)
    path = save(first + second[: len(second) // 2])
    refused(path, audio.TruncatedAudio, "truncated or damaged")


def test_flac_with_something_else_behind_is_refused(make, save):
    for behind in (make("MP3"), b"neither a tag nor a stream" * 10):
        refused(save(make("FLAC") + behind), audio.UnreadableAudio, "behind its 48000 samples")


@pytest.mark.parametrize("kind", ["MP3", "FLAC", "WAV", "OGG", "AIFF"])
def test_files_without_samples_are_empty(make, save, kind):
    content = make(kind, 0)
    refused(save(content), audio.EmptyAudio, "no samples|no bytes")


def test_files_that_may_not_be_read(make, save, monkeypatch):
    def no(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    path = save(make("WAV"))
    monkeypatch.setattr("builtins.open", no)
    refused(path, audio.UnreadableAudio, "cannot be read .Permission denied")


# WAV and its like

PLACEHOLDERS = [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFF0, 0x7FFFFFFF - 36, 0x80000000]
PLACEHOLDERS += [0x7FFFF000 - 36, 0xFFFFFFFF - 36, 0xFFFFFFF0, 0xFFFFF000, 0x7FFFFFFE, 0xFFFFFFFE]
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"


def with_sizes(content, samples=None, riff=None, order="<"):
    changed = bytearray(content)
    at = content.find(b"data") + 4
    if samples is not None:
        changed[at : at + 4] = struct.pack(order + "I", samples)
    if riff is not None:
        changed[4:8] = struct.pack(order + "I", riff)
    return bytes(changed)


@pytest.mark.parametrize("size", PLACEHOLDERS, ids=hex)
@pytest.mark.parametrize("riff", [None, "same"])
@pytest.mark.parametrize("behind", [b"", LIST + ID3V1])
def test_wav_with_a_placeholder(make, save, size, riff, behind):
    content = make("WAV", subtype="PCM_16")
    riff = min(size + 36, 0xFFFFFFFF) if riff == "same" else riff
    path = save(with_sizes(content, size, riff) + behind)
    assert n_of(path) == 48000
    np.testing.assert_array_equal(audio.read_audio(path), audio.read_audio(save(content)))


@pytest.mark.parametrize("riff", [0, 8, 0x7FFFF024, 0xFFFFFFFF])
def test_wav_whose_outer_size_alone_is_wrong(make, save, riff):
    content = make("WAV", subtype="PCM_16")
    assert n_of(save(with_sizes(content, None, riff))) == 48000
    refused(save(with_sizes(content, None, riff)[:-100]), audio.TruncatedAudio, "promises 96000")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
@pytest.mark.parametrize("n", [1001, 1002])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_wav_of_odd_sizes(make, save, subtype, n, endian):
    content = make("WAV", n / RATE, subtype=subtype, endian=endian)
    width = {"PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[subtype]
    bare = content[: content.find(b"data") + 8 + n * width]
    padding = b"\0" * (n * width % 2)
    size = struct.pack("<I" if endian == "LITTLE" else ">I", 4)
    for behind in (b"", padding, padding + b"LIST" + size + b"INFO", b"LIST" + size + b"INFO"):
        assert n_of(save(bare + behind)) == n
    order = "<" if endian == "LITTLE" else ">"
    assert n_of(save(with_sizes(bare, 0x7FFFF000, order=order))) == n
    refused(save(bare[:-1]), audio.TruncatedAudio, "header promises")


def test_wav_that_is_cut_off_or_goes_on(make, save):
    content = make("WAV", subtype="PCM_16")
    refused(save(content[:-1]), audio.TruncatedAudio, "promises 96000 bytes, found 95999")
    refused(save(content[:60]), audio.TruncatedAudio, "promises 96000 bytes")
    refused(save(content[:30]), audio.AudioError, "truncated|not a readable audio file")
    refused(save(content * 2), audio.UnreadableAudio, "behind them stand 96044 bytes")
    short = with_sizes(content, 40000)
    refused(save(short), audio.UnreadableAudio, "behind them stand 56000 bytes")
    refused(save(with_sizes(content, 0x7F000000)), audio.TruncatedAudio, "promises 2130706432")
    with pytest.raises(audio.EmptyAudio):
        audio.check_audio(save(with_sizes(content[:44], 0)))


def test_wav_whose_header_contradicts_itself(make, save):
    content = bytearray(make("WAV", subtype="PCM_16"))
    content[32:34] = struct.pack("<H", 64)
    refused(save(content), audio.UnreadableAudio, "says 1500 samples, and by other values 48000")


@pytest.mark.parametrize("kind", ["RF64", "W64", "AIFF", "AU", "NIST", "CAF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "ULAW"])
def test_other_containers_are_whole_or_refused(make, save, kind, subtype):
    content = make(kind, subtype=subtype)
    assert n_of(save(content)) == 48000
    refused(save(content[: len(content) // 2]), audio.TruncatedAudio, "header promises")
    refused(save(content[:-1]), audio.TruncatedAudio, "header promises")
    refused(save(content * 2), audio.UnreadableAudio, "behind them stand")


UNKNOWN = {
    "AU": [(8, ">I", size) for size in (0, 0xFFFFFFFF, 0x7FFFFFFF)],
    "W64": [(-24, "<Q", size) for size in (0, 24, (1 << 64) - 1, (1 << 63) - 1)],
    "CAF": [(-12, ">Q", size) for size in (0, (1 << 64) - 1)],
    "AIFF": [(-12, ">I", size) for size in (0, 8, 0xFFFFFFFF, 0x7FFFFFFF)],
    "RF64": [(28, "<Q", size) for size in (0, (1 << 64) - 1, 0xFFFFFFFF)],
}


@pytest.mark.parametrize(
    ("kind", "place", "form", "size"), [(k, *row) for k, rows in UNKNOWN.items() for row in rows]
)
def test_other_containers_with_a_placeholder(make, save, kind, place, form, size):
    """Places below 0 are counted from the first sample."""
    content = bytearray(make(kind, subtype="PCM_16"))
    place += len(content) - 96000 if place < 0 else 0
    if kind == "W64":
        place += 16
    struct.pack_into(form, content, place, size)
    assert n_of(save(content)) == 48000


def test_containers_whose_length_cannot_be_checked_are_refused(make, save):
    refused(save(make("VOC", subtype="PCM_16")), audio.UnreadableAudio, "a VOC file.*convert it")
