"""Speech with units: what is left out, what is refused, and how labels follow the crops."""

import logging

import numpy as np
import pytest
import torch

from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.lexicon import Lexicon
from speechlm.data.report import Report
from speechlm.models.masking import span_mask
from speechlm.tasks.batching import Lines, TextBatches
from speechlm.tasks.joint import JointEpochs
from speechlm.tasks.speech_units import SpeechUnits
from speechlm.tasks.text_units import TextUnits
from speechlm.tokenizers.durations import EDGE, UnitDurations
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer


@pytest.fixture
def rewrite(rewrite_archive):
    """Change the unit archives of a data directory."""
    return lambda folder, change: rewrite_archive(folder / "units_phone", "units", change)


@pytest.fixture
def folder(tmp_path, make_data_dir):
    make_data_dir(tmp_path / "data", 6, 5)
    return tmp_path / "data"


def test_missing_units_and_short_utterances_are_listed(rewrite, folder, tmp_path):
    rewrite(folder, lambda labels: labels.pop("spk1-0001"))
    whole = SpeechUnits(folder, "units_phone", 100, 8000)
    shortest = int(whole.lengths.min())
    data = SpeechUnits(folder, "units_phone", 100, shortest + 1, report=tmp_path / "report")
    items = {item.utterance: item for item in Report.read(tmp_path / "report").items}
    assert items.pop("spk1-0001").kind == "no units"
    assert {item.kind for item in items.values()} == {"too short"}
    assert f"{shortest} samples, fewer than {shortest + 1}" in [i.detail for i in items.values()]
    assert len(data) + 1 + len(items) == 6
    message = r"no utterance is left. left out: 1 no units; filtered: 5 too short"
    with pytest.raises(ValueError, match=message):
        SpeechUnits(folder, "units_phone", 100, 10_000_000)


def test_counts_that_do_not_fit_name_the_ids(rewrite, folder):
    rewrite(folder, lambda labels: labels.update({"spk2-0002": labels["spk2-0002"][:-3]}))
    message = r"of 1 utterances; .*spk2-0002 \(\d+ labels, \d+ expected of \d+ samples\)"
    with pytest.raises(ValueError, match=message):
        SpeechUnits(folder, "units_phone", 100, 8000)


@pytest.mark.parametrize("difference", [-2, -1, 1, 2])
def test_one_label_more_or_less_is_mended(rewrite, folder, difference):
    right = dict(ArchiveReader(folder / "units_phone" / "units.scp"))["spk2-0002"]
    longer = np.concatenate([right, right])[: len(right) + difference]
    rewrite(folder, lambda labels: labels.update({"spk2-0002": longer}))
    if abs(difference) > 1:
        message = rf"spk2-0002 \({len(longer)} labels, {len(right)} expected of"
        with pytest.raises(ValueError, match=message):
            SpeechUnits(folder, "units_phone", 100, 8000)
        return
    data = SpeechUnits(folder, "units_phone", 100, 8000, pad_audio=True)
    batch = data.batch(np.array([data.ids.index("spk2-0002")]), None)
    labels = batch["labels"][0].numpy() - 4
    assert len(labels) == round(int(batch["sample_lengths"][0]) / 160) or len(labels) == len(right)
    assert (labels[: len(right) - 1] == right[: len(labels)][: len(right) - 1]).all()
    assert len(data._labels(data.ids.index("spk2-0002"))) == len(right)


def test_labels_that_the_dictionary_lacks_are_refused(folder):
    """Nothing becomes <unk>."""
    tokens = folder / "units_phone" / "tokens.txt"
    tokens.write_text("".join(f"{n}\n" for n in range(3)))
    with pytest.raises(ValueError, match="units.scp: spk.*do not fit .*tokens.txt.* labels 0 .. 2"):
        SpeechUnits(folder, "units_phone", 100, 8000)


def test_hidden_units_at_50_hz(folder, tmp_path):
    """Units of half the rate, from 0 to K - 1: they follow the audio's crops too."""
    units = dict(ArchiveReader(folder / "units_phone" / "units.scp"))
    hidden = folder / "units_hidden"
    with ArchiveWriter(hidden) as writer:
        for name in sorted(units):
            writer.write(name, np.arange((len(units[name]) + 1) // 2) % 7)
    merge_archives(hidden, 1)
    write_unit_info(hidden, 0.02, [str(n) for n in range(7)])
    data = SpeechUnits(folder, "units_hidden", 50, 8000, max_samples=16000)
    assert data.vocabulary.n_ids == 12
    batch = data.batch(np.arange(len(data)), np.random.default_rng(0))
    frames = (batch["waveforms"].shape[1] - 400) // 320 + 1
    assert abs(batch["labels"].shape[1] - frames) <= 1
    steps = np.diff(batch["labels"].numpy(), axis=1)
    assert np.isin(steps, (1, -6)).all()


def test_another_label_rate_is_refused(folder):
    with pytest.raises(ValueError, match="100 labels a second, but the model's label_rate is 50"):
        SpeechUnits(folder, "units_phone", 50, 8000)


@pytest.mark.parametrize("pad_audio", [False, True])
def test_labels_follow_the_crop(folder, pad_audio):
    data = SpeechUnits(folder, "units_phone", 100, 8000, max_samples=16000, pad_audio=pad_audio)
    batch = data.batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch["waveforms"].shape[1] == batch["sample_lengths"].max() <= 16000
    units = ArchiveReader(folder / "units_phone" / "units.scp")
    samples = DataDir.read(folder).samples()
    for row, index in enumerate((0, 1)):
        whole = data._waveform(index, 0, samples[data.ids[index]])
        n = int(batch["sample_lengths"][row])
        crop = batch["waveforms"][row, :n].numpy()
        windows = np.lib.stride_tricks.sliding_window_view(whole, n)
        start = int(np.flatnonzero((windows[:, :50] == crop[:50]).all(1))[0])
        labels = units[data.ids[index]][round(start / 160) :]
        ids = batch["labels"][row].numpy()
        ids = ids[ids != 1]
        assert len(ids) >= n // 160 - 3
        assert (ids - 4 == labels[: len(ids)]).all()


def all_used(numbers, passes) -> Lines:
    return Lines(np.array(numbers), np.array(passes), np.ones(len(numbers), bool))


def test_lines_and_words_that_do_not_fit_are_counted_and_named(tmp_path, caplog):
    (tmp_path / "lexicon.txt").write_text("A AH0\nCAT K AE1 T\n")
    long = " ".join(["CAT"] * 1000)
    (tmp_path / "text.txt").write_text(f"A CAT\n{long}\nCAT DOG CAT\n")
    tokenizer = PhonemeTextTokenizer(Lexicon.read(tmp_path / "lexicon.txt"), seed=1)
    text = TextUnits(tmp_path / "text.txt", tokenizer)
    batch = text.batch(all_used([0, 1, 2], [0, 0, 1]))
    assert len(batch["units"]) == 2
    assert (int(batch["lines_left_out"]), int(batch["unknown_words"])) == (1, 1)
    assert "text.txt:2 left out" in caplog.text and "lacks: DOG" in caplog.text
    alone = text.batch(all_used([1], [0]))
    assert "units" not in alone and int(alone["lines_left_out"]) == 1
    without = text.batch(Lines(np.array([2, 0]), np.zeros(2, int), np.array([False, True])))
    assert len(without["units"]) == 1 and int(without["unknown_words"]) == 0
    assert int(without["lines_left_out"]) == 1
    assert "text.txt:3 left out: " in caplog.text and "units have no room" in caplog.text


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A text of 2,000 sentences of 3 to 60 words, as units."""
    folder = tmp_path_factory.mktemp("sentences")
    random = np.random.default_rng(0)
    phones = np.array(["AH0", "T", "N", "S", "IY1", "R", "D", "L", "K", "EH1"])
    words = ["".join(random.choice(list("ETAOINSHRDLU"), n)) for n in random.integers(1, 10, 500)]
    words = sorted(set(words))
    (folder / "lexicon").write_text(
        "".join(f"{w} {' '.join(random.choice(phones, max(1, len(w) - 1)))}\n" for w in words)
    )
    lines = [" ".join(random.choice(words, n)) for n in random.integers(3, 60, 2000)]
    lines[5], lines[70] = "", " ".join(["T" * 20] * 99)
    (folder / "text").write_text("\n".join(lines) + "\n")
    lexicon = Lexicon.read(folder / "lexicon")
    return TextUnits(folder / "text", PhonemeTextTokenizer(lexicon, seed=1))


def test_text_batches_are_full_equal_and_within_the_limit(sentences):
    """By counts of units: nearly no padding, and as many units masked as can be."""
    limit, padded, units, left_out = 4375, [], 0, 0
    masked, equal = [], []  # shares: of the rows, of as many that are equally long
    batches = TextBatches(sentences, limit, seed=1)
    torch.manual_seed(0)
    for step in range(batches.block_batches):
        batch = sentences.batch(batches[step])
        valid = batch["units"] != 1
        padded.append(valid.numel())
        units += int(valid.sum())
        left_out += int(batch["lines_left_out"])
        mask = span_mask(valid.sum(1), valid.shape[1], 0.8, 10)
        masked.append(float(mask.sum() / valid.sum()))
        full = torch.full((len(valid),), valid.shape[1])
        equal.append(float(span_mask(full, valid.shape[1], 0.8, 10).float().mean()))
    assert max(padded) <= limit and np.mean(padded) > 0.75 * limit
    assert 1 - units / sum(padded) < 0.01  # 7 % and more if lines are sorted by bytes
    assert np.mean(masked) > np.mean(equal) - 0.005 and np.mean(equal) > 0.53
    assert left_out == 2


def test_counts_are_those_of_the_batches(sentences):
    numbers, passes = np.array([3, 5, 70, 9, 3]), np.array([0, 0, 0, 2, 7])
    counts = sentences.unit_counts(numbers, passes)
    batch = sentences.batch(all_used(numbers, passes))
    assert (counts == 0).tolist() == [False, True, True, False, False]
    assert ((batch["units"] != 1).sum(1).numpy() == counts[counts > 0]).all()
    assert counts[0] != counts[4]  # another pass, other durations


def test_a_damaged_line_is_named_by_its_file(sentences, tmp_path):
    (tmp_path / "text").write_text("GOOD\nsmall letters\n")
    text = TextUnits(tmp_path / "text", sentences.tokenizer)
    with pytest.raises(ValueError, match="text: line 2 of the text: characters"):
        TextBatches(text, 4375, seed=1)


@pytest.mark.parametrize("n", [1, 10])
@pytest.mark.parametrize("workers", [1, 3])
def test_joint_batches_of_little_text_and_speech(folder, sentences, tmp_path, n, workers):
    """Fewer lines than a batch or than workers: they come again, with other durations."""
    (tmp_path / "text").write_text("".join(f"{sentences.corpus[i]}\n" for i in range(8, 8 + n)))
    text = TextUnits(tmp_path / "text", sentences.tokenizer)
    speech = SpeechUnits(folder, "units_phone", 100, 8000)
    heard = []
    for rank in range(workers):
        epochs = JointEpochs(speech, text, 10**6, 4375, 1, rank, workers)
        assert epochs.steps == 1
        for number in (1, 2):
            for ids, batch in epochs.epoch(number):
                assert 0 < batch["units"].numel() <= 4375
                assert batch["waveforms"].numel() <= 10**6
                heard += [name for name in ids if name in speech.ids]
                rows = [tuple(row.tolist()) for row in batch["units"]]
                assert len(rows) == len(set(rows)) > 1
    assert sorted(heard) == sorted(2 * list(speech.ids))


def test_speech_that_workers_cannot_share_names_its_folder(folder):
    speech = SpeechUnits(folder, "units_phone", 100, 8000)
    with pytest.raises(ValueError, match=f"{folder}: 6 utterances in 1 batches .* by 7 workers"):
        JointEpochs(speech, None, 10**6, 500, 1, 0, 7)


def test_lines_that_ctc_cannot_write_are_counted_and_named(tmp_path, caplog):
    (tmp_path / "lexicon.txt").write_text("A AH0\nTHROUGH TH R UW1\n")
    (tmp_path / "text.txt").write_text("THROUGH THROUGH\nA\n")
    rows = dict.fromkeys(("phone", "SIL", "SPN", EDGE), 1)
    once = UnitDurations([np.array([0.0, 1.0])], rows, 0.0)
    text = TextUnits(
        tmp_path / "text.txt", PhonemeTextTokenizer(Lexicon.read(tmp_path / "lexicon.txt"), 1, once)
    )
    batch = text.batch(all_used([0, 1], [0, 0]))
    assert (int(batch["lines_left_out"]), int(batch["impossible_lines"])) == (1, 1)
    assert batch["units"].shape == (1, 4) and batch["characters"].shape == (1, 3)
    assert "text.txt:1 left out: 9 units, its letters need 16" in caplog.text


@pytest.mark.parametrize("normalize", [False, True])
def test_parts_of_recordings_are_as_good_as_files(folder, join_recordings, tmp_path, normalize):
    join_recordings(folder, tmp_path / "joined")
    batches = []
    for place in (folder, tmp_path / "joined"):
        data = SpeechUnits(place, "units_phone", 100, 8000, 16000, normalize=normalize)
        batches.append(data.batch(np.arange(len(data)), np.random.default_rng(0)))
    assert len(set(DataDir.read(tmp_path / "joined").wav.values())) == 3
    for name, tensor in batches[0].items():
        np.testing.assert_array_equal(batches[1][name].numpy(), tensor.numpy())


@pytest.mark.parametrize("train", [True, False])
def test_batches_are_put_together_in_training_alone(folder, sentences, train):
    """Twice the utterances and lines a batch; validations stay comparable."""
    speech = SpeechUnits(folder, "units_phone", 100, 1000)
    limit = int(speech.lengths.max())  # one or two utterances a batch
    apart, together = (
        JointEpochs(speech, sentences, limit, 800, 1, at_once=at_once, train=train)
        for at_once in (1, 2)
    )
    rows = [[epochs.epoch(1)[n][1] for n in range(epochs.steps)] for epochs in (apart, together)]
    sizes = [[len(batch["waveforms"]) for batch in batches] for batches in rows]
    assert sum(sizes[0]) == sum(sizes[1]) == len(speech)
    assert len(sizes[1]) == (-(-len(sizes[0]) // 2) if train else len(sizes[0]))
    units = [max(batch["units"].numel() for batch in batches) for batches in rows]
    assert units[0] <= 800 and (800 < units[1] <= 1600 if train else units[1] <= 800)


def test_lengths_that_differ_much_are_told(folder, caplog):
    caplog.set_level(logging.INFO)
    speech = SpeechUnits(folder, "units_phone", 100, 1000)
    epochs = JointEpochs(speech, None, 10**7, 800, 1)
    (said,) = [record for record in caplog.records if "cropped to equal lengths" in record.message]
    assert said.levelno == (logging.WARNING if epochs.batches.loss > 0.02 else logging.INFO)
    assert f"about {100 * epochs.batches.loss:.1f} % of their samples" in said.message
    assert epochs.batches.loss > 0.02 and "too few utterances" in said.message
