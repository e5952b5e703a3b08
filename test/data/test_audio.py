"""Audio files, good and bad."""

import numpy as np
import pytest
import soundfile

from speechlm.data import audio


@pytest.fixture
def flac(tmp_path, helpers):
    path = tmp_path / "folder with spaces" / "a.flac"
    path.parent.mkdir()
    soundfile.write(path, helpers.tone(3), 16000)
    return path


def test_whole_and_slice(flac):
    whole = audio.read_audio(flac)
    assert whole.dtype == np.float32
    assert whole.shape == (48000,)
    np.testing.assert_array_equal(audio.read_audio(flac, start=1000, stop=2500), whole[1000:2500])
    np.testing.assert_array_equal(audio.read_audio(flac, start=47000), whole[47000:])
    with pytest.raises(ValueError, match=r"samples 0\.\.48001 asked for, it has 0\.\.48000"):
        audio.read_audio(flac, stop=48001)


def test_good_file_passes(flac):
    for quick in (False, True):
        info = audio.check_audio(flac, quick)
        assert (info.n_samples, info.rate, info.n_channels) == (48000, 16000, 1)
        assert info.container == "FLAC"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95, 0.999])
@pytest.mark.parametrize("quick", [False, True])
def test_truncated_flac(flac, share, quick):
    content = flac.read_bytes()
    flac.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(audio.TruncatedAudio, match="a.flac: truncated or damaged"):
        audio.check_audio(flac, quick)
    with pytest.raises(audio.AudioError):
        audio.read_audio(flac)


def test_header_that_promises_more(flac):
    """Rewrite the sample count in the FLAC header (36 bits at byte 21) to twice as many."""
    content = bytearray(flac.read_bytes())
    assert int.from_bytes(content[22:26], "big") == 48000
    content[22:26] = (96000).to_bytes(4, "big")
    flac.write_bytes(content)
    for quick in (False, True):
        with pytest.raises(audio.TruncatedAudio):
            audio.check_audio(flac, quick)


def test_damage_in_the_middle(flac):
    content = bytearray(flac.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    flac.write_bytes(content)
    with pytest.raises(audio.AudioError):
        audio.check_audio(flac)


def test_samples_that_differ_from_the_checksum(flac, helpers):
    """A whole and decodable file with another file's checksum."""
    other = flac.with_name("other.flac")
    soundfile.write(other, helpers.tone(3, seed=5), 16000)
    content = bytearray(flac.read_bytes())
    content[26:42] = other.read_bytes()[26:42]
    flac.write_bytes(content)
    with pytest.raises(audio.UnreadableAudio, match="FLAC checksum"):
        audio.check_audio(flac)


def test_no_bytes_no_file_no_audio(tmp_path):
    empty = tmp_path / "empty.flac"
    empty.touch()
    with pytest.raises(audio.EmptyAudio, match="no bytes"):
        audio.check_audio(empty)
    with pytest.raises(audio.UnreadableAudio, match="no such file"):
        audio.check_audio(tmp_path / "absent.flac")
    with pytest.raises(audio.UnreadableAudio, match="no such file"):
        audio.read_audio(tmp_path / "absent.flac")
    text = tmp_path / "text.flac"
    text.write_text("I am no audio file, whatever my name says")
    with pytest.raises(audio.UnreadableAudio, match="not a readable audio file"):
        audio.check_audio(text)


def test_silence_is_empty(tmp_path):
    soundfile.write(tmp_path / "zeros.flac", np.zeros(16000), 16000)
    with pytest.raises(audio.EmptyAudio, match="all samples are zero"):
        audio.check_audio(tmp_path / "zeros.flac")


def test_stereo(tmp_path, helpers):
    path = tmp_path / "stereo.flac"
    left, right = helpers.tone(1, seed=1), helpers.tone(1, seed=2)
    soundfile.write(path, np.stack([left, right], 1), 16000)
    with pytest.raises(audio.ChannelError, match="one channel expected, found 2"):
        audio.check_audio(path)
    with pytest.raises(audio.ChannelError):
        audio.read_audio(path)
    mixed, rate = audio.decode_any(path, mix_channels=True)
    assert rate == 16000
    np.testing.assert_allclose(mixed, (left + right) / 2, atol=1e-4)


def test_other_rate(tmp_path, helpers):
    path = tmp_path / "8k.wav"
    soundfile.write(path, helpers.tone(1, 8000), 8000)
    with pytest.raises(audio.RateError, match=r"16000 Hz expected, found 8000 Hz.*format_data"):
        audio.read_audio(path)
    assert audio.read_audio(path, rate=8000).shape == (8000,)


def test_resampling_keeps_a_tone():
    time = np.arange(44100) / 44100
    wave = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    new = audio.resample(wave, 44100, 16000)
    assert new.dtype == np.float32
    assert len(new) == 16000
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(new[500:-500], expected[500:-500], atol=1e-3)


def test_truncated_wav(tmp_path, helpers):
    path = tmp_path / "a.wav"
    soundfile.write(path, helpers.tone(2), 16000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(audio.TruncatedAudio, match="promises 64000 bytes"):
        audio.read_header(path)


def test_clipping_on_writing(tmp_path):
    path = tmp_path / "loud.flac"
    audio.write_flac(path, np.array([1.5, -1.5, 0.5] * 200, np.float32), 16000)
    written = audio.read_audio(path)
    np.testing.assert_allclose(written[:3], [1, -1, 0.5], atol=1e-4)


def test_a_full_disk_is_an_error_of_the_system(tmp_path, full_disk):
    noise = np.random.default_rng(0).standard_normal(50_000) * 0.1
    with full_disk(8192), pytest.raises(OSError, match="a.flac cannot be written"):
        audio.write_flac(tmp_path / "a.flac", noise, 16000)


@pytest.mark.parametrize("suffix", ["ogg", "opus", "mp3", "flac", "wav"])
def test_parts_are_exact(tmp_path, suffix):
    """libsndfile's own seeking is off by thousands of samples in this Ogg file."""
    path, rate = tmp_path / f"a.{suffix}", 48000 if suffix == "opus" else 44100
    time = np.arange(30 * rate) / rate  # more than a block
    wave = 0.4 * np.sin(2 * np.pi * (300 * time + 100 * time**2))
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    soundfile.write(path, wave, rate, **kind)
    whole = audio.read_audio(path, rate)
    # the whole is what was written, but for the delays of MP3
    assert len(whole) == len(wave) and np.corrcoef(whole, wave)[0, 1] > 0.98
    for start in (0, 1, 22050, 132300, (1 << 20) - 7, 1200000):
        for stop in (start, start + 1, start + 20000, len(whole), None):
            part = audio.read_audio(path, rate, start, stop)
            np.testing.assert_array_equal(part, whole[start:stop])
    for start, stop in ((-1, 5), (7, 5), (5, len(whole) + 1), (len(whole) + 1, None)):
        with pytest.raises(ValueError, match=rf"samples {start}\.\..* it has 0\.\.{len(whole)}"):
            audio.read_audio(path, rate, start, stop)


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "flac", "wav"])
def test_the_check_shows_all_samples(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    time = np.arange(80 * 16000) / 16000
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * (300 * time + 10 * time**2)), 16000)
    seen = []
    info = audio.check_audio(path, watch=lambda first, block: seen.append((first, block.copy())))
    assert [first for first, _ in seen] == [0, len(seen[0][1])]
    blocks = [block / 32768 if block.dtype == np.int16 else block for _, block in seen]
    np.testing.assert_array_equal(np.concatenate(blocks), audio.read_audio(path))
    assert info.n_samples == sum(map(len, blocks))


def test_a_range_of_a_long_file_is_read_alone(tmp_path, monkeypatch, samples_read):
    """Neither decoded nor looked through from its beginning."""
    path = tmp_path / "a.flac"
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 16000, 1, format="FLAC") as file:
        for _ in range(10):  # 10 minutes
            file.write(random.standard_normal(60 * 16000) * 0.1)
    monkeypatch.setattr("speechlm.data.flac_streams._next_mark", None)  # looks for other streams
    assert len(audio.read_audio(path, 16000, 9_000_000, 9_000_500)) == 500
    assert samples_read == [500]


def test_a_header_that_promises_too_much_takes_no_memory(flac):
    """68,719,476,735 samples in a file of a few kilobytes."""
    content = bytearray(flac.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    flac.write_bytes(content)
    with pytest.raises(audio.TruncatedAudio, match=r"a\.flac"):
        audio.read_audio(flac)


@pytest.mark.parametrize("rate", [1, 8, 999])
def test_no_speech_has_so_low_a_rate(tmp_path, helpers, rate):
    soundfile.write(tmp_path / "a.wav", helpers.tone(3), rate)
    for look in (audio.measure, audio.check_audio):
        with pytest.raises(audio.UnreadableAudio, match=rf"a\.wav: no speech .* at {rate} Hz"):
            look(tmp_path / "a.wav")
