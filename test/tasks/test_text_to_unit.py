"""From aligned speech to a model that writes hidden units of text, and pre-training with them."""

import os
import pickle
import signal

import numpy as np
import pytest
import yaml

from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.text_to_unit_dir import load_text_to_unit
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.lexicon import Lexicon
from speechlm.data.monophones import MONOPHONES, phone_of_label
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import UnitStore
from speechlm.tasks.batching import Lines
from speechlm.tasks.run_pretrain import pretrain
from speechlm.tasks.run_text_to_unit import train_text_to_unit
from speechlm.tasks.text_units import StoredTextUnits
from speechlm.tokenizers.aligned_units import make_pairs
from speechlm.tokenizers.hidden_text import HiddenTextTokenizer
from speechlm.tokenizers.text_generation import Generation, finish, generate_units

CONFIG = {
    "model_conf": {
        "embed_dim": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "ffn_dim": 64,
        "predictor_dim": 32,
        "dropout": 0.0,
        "predictor_dropout": 0.1,
    },
    "batch_type": "numel",
    "batch_bins": 1000,
    "max_epoch": 4,
    "num_iters_per_epoch": 35,
    "optim_conf": {"lr": 5.0e-3},
    "quick_start": True,
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "scheduler_conf": {"warmup_ratio": 0.2, "hold_ratio": 0.0, "decay_ratio": 0.8},
}
UNITS = 23
TABLE = phone_of_label()


def hidden_of(labels: np.ndarray) -> np.ndarray:
    """Units of 10 ms labels: two a phone (its first frame, the others), in an order of no sense."""
    phones = TABLE[labels[::2]]
    first = np.diff(phones, prepend=-1) != 0
    return (phones * 5 + 11 * first) % UNITS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_data_dir, chords):
    """Data directories train and dev with units_phone and units_hidden (50 Hz)."""
    root = tmp_path_factory.mktemp("hidden")
    for name, n, seed in (("train", 60, 1), ("dev", 8, 2)):
        make_data_dir(root / name, n, seed)
        folder = root / name / "units_hidden"
        with ArchiveWriter(folder, "units") as writer:
            aligned = ArchiveReader(root / name / "units_phone" / "units.scp")
            for utterance in aligned:
                writer.write(utterance, hidden_of(aligned[utterance]))
        merge_archives(folder, 1)
        write_unit_info(folder, 0.02, [str(n) for n in range(UNITS)], "kmeans-1")
    return root


@pytest.fixture(scope="module")
def trained(corpus):
    """Folder of pairs, configuration, folder of the model."""
    align, units = (corpus / "train" / name for name in ("units_phone", "units_hidden"))
    make_pairs(align, units, corpus / "pairs", 0.1)
    config = corpus / "text_to_unit.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    folder = train_text_to_unit(corpus / "t2u", str(config), corpus / "pairs", {"seed": 1})
    return corpus / "pairs", str(config), folder


def generation(chords, trained, output, **changes) -> Generation:
    values = {
        "text": chords / "text",
        "model": trained[2],
        "lexicon": chords / "lexicon",
        "output": output,
        "chunk_lines": 30,
    }
    return Generation(**{**values, **changes})


@pytest.fixture(scope="module")
def stores(corpus, trained, chords):
    """Complete stores of the texts of training and validation."""
    for name in ("text", "dev_text"):
        task = generation(chords, trained, corpus / f"{name}_units", text=chords / name)
        generate_units(task, 1, 1)
        finish(task.text, task.output)
    return corpus / "text_units", corpus / "dev_text_units"


def test_it_learns_units_and_durations(trained):
    stats = load_weights_only(trained[2] / "checkpoint.pth")["reporter"]["stats"]
    assert stats[4]["valid"]["accuracy"] > 0.95 > 0.8 > stats[1]["train"]["accuracy"]
    assert stats[4]["valid"]["duration_error"] < stats[1]["train"]["duration_error"]
    report = (trained[2] / "RESULTS.md").read_text()
    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in report.splitlines()[2:]}
    accuracy, by_phone = (float(x.strip(" %")) for x in rows["unit accuracy, true durations"])
    assert accuracy > 95 and by_phone < 85
    error, constant = map(float, rows["duration error (mean absolute, units of a phone)"])
    assert error < constant + 0.1 < 1.0
    assert "6 utterances" in report


def test_units_of_text_are_clusters_of_the_same_clustering(trained, stores):
    assert load_text_to_unit(trained[2]).units.origin == "kmeans-1"
    assert {UnitStore(folder).units.origin for folder in stores} == {"kmeans-1"}


def test_training_goes_on_and_other_units_are_refused(trained, corpus, tmp_path):
    folder = train_text_to_unit(trained[2], trained[1], trained[0], {"seed": 1, "max_epoch": 4})
    assert (folder / "train.log").read_text().count("epoch started") == 4
    units = corpus / "train" / "units_hidden"
    other = tmp_path / "units"
    other.mkdir()
    for name in ("units.1.ark", "units.scp", "frame_shift"):
        (other / name).write_bytes((units / name).read_bytes())
    (other / "tokens.txt").write_text((units / "tokens.txt").read_text().replace("7\n", "x\n", 1))
    make_pairs(corpus / "train" / "units_phone", other, tmp_path / "pairs", 0.1)
    with pytest.raises(ValueError, match="label 7 is 7 in the first and x in the second"):
        train_text_to_unit(trained[2], trained[1], tmp_path / "pairs", {"seed": 1})
    with pytest.raises(ValueError, match='did you mean "embed_dim"'):
        train_text_to_unit(
            tmp_path / "new", trained[1], trained[0], {}, ["--model_conf", "embed_dims=8"]
        )


def test_the_folder_gives_back_the_model(trained, tmp_path):
    model, phones, units, shift = load_text_to_unit(trained[2])
    assert phones is MONOPHONES
    assert len(units) == UNITS and shift == 0.02 and model.config.embed_dim == 32
    with pytest.raises(ValueError, match="holds no trained text-to-unit model"):
        load_text_to_unit(tmp_path)


def test_text_becomes_the_units_of_its_phones(trained, chords):
    model = load_text_to_unit(trained[2]).model
    tokenizer = HiddenTextTokenizer(model, Lexicon.read(chords / "lexicon"), 0, 0.0)
    lines = ["THE CAT SEES FISH", "NOW"]
    phones, *_ = tokenizer.phones(lines, [0, 1])
    for row, units in zip(phones, tokenizer(lines, [0, 1]).rows, strict=True):
        runs = units[np.diff(units, prepend=-1) != 0]
        expected = [(p * 5 + 11 * first) % UNITS for p in row[:-1] for first in (True, False)]
        assert np.isin(expected, runs).mean() > 0.9 and abs(len(runs) - len(expected)) <= 2
        assert 2.5 < len(units) / (len(row) - 1) < 5.5


def all_used(lines) -> Lines:
    return Lines(lines, np.zeros_like(lines), np.ones(len(lines), bool))


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_any_number_of_jobs_gives_the_same(stores, trained, chords, tmp_path):
    task = generation(chords, trained, tmp_path / "units")
    counts = [generate_units(task, job, 3) for job in (3, 1, 2)]
    summary = finish(task.text, task.output)
    assert contents(stores[0]) == contents(task.output)
    assert summary.startswith(f"200 lines, {sum(counts)} units; dropped: 0 lines")
    with pytest.raises(ValueError, match="job 4 of 3"):
        generate_units(task, 4, 3)


def test_killed_generation_goes_on_with_what_is_missing(stores, trained, chords, tmp_path):
    task = generation(chords, trained, tmp_path / "units")
    pid = os.fork()
    if pid == 0:
        write, calls = UnitStore.write, []

        def killed(self, chunk, *arguments):
            calls.append(chunk)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, chunk, *arguments)

        UnitStore.write = killed
        try:
            generate_units(task, 1, 1)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    store = UnitStore(task.output)
    assert store.missing() == [3, 4, 5, 6]
    with pytest.raises(ValueError, match="4 of 7 chunks are missing"):
        finish(task.text, task.output)
    made = {chunk: store.path(chunk).stat().st_mtime_ns for chunk in (0, 2)}
    store.path(1).write_bytes(b"damaged")
    generate_units(task, 1, 1)
    assert made == {chunk: store.path(chunk).stat().st_mtime_ns for chunk in made}
    finish(task.text, task.output)
    assert contents(stores[0]) == contents(task.output)


def test_a_store_of_another_seed_is_refused_or_replaced(stores, trained, chords, tmp_path):
    task = generation(chords, trained, tmp_path / "units", seed=9)
    generate_units(task, 1, 1)
    task.seed = 0
    with pytest.raises(ValueError, match="made in another way .*'seed': 9.*; remove it"):
        generate_units(task, 1, 1)
    task.replace = True
    (task.output / "log").mkdir()
    counts = [generate_units(task, job, 2) for job in (1, 2)]
    assert all(counts) and (task.output / "log").is_dir()
    finish(task.text, task.output)
    assert contents(stores[0]) == contents(task.output)


def test_bfloat16_changes_little(stores, trained, chords, tmp_path):
    task = generation(chords, trained, tmp_path / "units", bfloat16=True)
    generate_units(task, 1, 1)
    exact, found = (UnitStore(folder) for folder in (stores[0], task.output))
    assert found.made_with == exact.made_with | {"bfloat16": True}
    same = [a.shape == b.shape and (a == b).mean() > 0.9 for a, b in zip(exact, found, strict=True)]
    assert len(same) == 200 and np.mean(same) > 0.7


def test_lines_left_out_are_listed(trained, chords, tmp_path):
    (tmp_path / "text").write_text("CAT\n\nCAT OWL OWL\n" + "FAST " * 1990 + "\nDOG\n")
    task = generation(chords, trained, tmp_path / "units", text=tmp_path / "text", chunk_lines=2)
    generate_units(task, 1, 1)
    assert "dropped: 2 lines; unknown words: 1 (2 times)" in finish(task.text, task.output)
    report = (task.output / "report.txt").read_text()
    assert "\n2 empty\n" in report and "\n4 " in report and "\nOWL 2\n" in report
    batch = StoredTextUnits(task.text, task.output, 0.02).batch(all_used(np.arange(5)))
    assert int(batch["lines_left_out"]) == 2 and len(batch["units"]) == 3
    with pytest.raises(ValueError, match="text: line 2 of the text"):
        (tmp_path / "text").write_text("CAT\nCAT 5\n")
        generate_units(generation(chords, trained, tmp_path / "new", text=task.text), 1, 1)


def test_stored_units_are_read_by_line_in_any_order(stores, chords):
    text = StoredTextUnits(chords / "text", stores[0], 0.02)
    store, corpus = UnitStore(stores[0]), TextCorpus(chords / "text")
    lines = np.array([150, 3, 77])
    batch = text.batch(all_used(lines))
    for n, line in enumerate((150, 3, 77)):
        row, units = batch["units"][n].numpy(), store[line]
        assert (row[: len(units)] == units + 4).all()
        assert row[len(units)] == 2 and (row[len(units) + 1 :] == 1).all()
        assert (batch["characters"][n] == 4).sum() == len(corpus[line].split())
    counts = text.unit_counts(np.arange(200)[::-1], np.zeros(200, np.int64))[::-1]
    assert counts.tolist() == [len(store[n]) + 1 for n in range(200)]
    with pytest.raises(ValueError, match="has units of a text of 200 lines"):
        StoredTextUnits(chords / "dev_text", stores[0], 0.02)


@pytest.mark.parametrize("frame_shift", [0.01, 0.03, 0.05])
def test_frames_that_are_no_multiple_of_stored_units_are_refused(stores, chords, frame_shift):
    why = f"has units of 0.02 s, the model's frames last {frame_shift:g} s, which is no multiple"
    with pytest.raises(ValueError, match=why):
        StoredTextUnits(chords / "text", stores[0], frame_shift)


def test_a_model_of_40_ms_takes_every_second_unit_in_any_process(stores, chords):
    """What a line becomes follows from seed, pass and line, also in a loader's process."""
    text = StoredTextUnits(chords / "text", stores[0], 0.04, seed=5, ctc_outputs=2)
    store, lines = UnitStore(stores[0]), np.arange(200)
    batch = text.batch(all_used(lines))
    assert int(batch["lines_left_out"]) == 0
    counts = text.unit_counts(lines, np.zeros(200, np.int64))
    seen = set()
    for n, row in enumerate(batch["units"].numpy()):
        units, end = store[n] + 4, int(np.flatnonzero(row == 2)[0])
        (phase,) = (p for p in range(2) if np.array_equal(row[:end], units[p::2]))
        seen.add(phase)
        assert counts[n] == end + 1
    assert seen == {0, 1}
    loaded = pickle.loads(pickle.dumps(text))
    again = loaded.batch(all_used(lines[150:60:-3]))["units"].numpy()
    for n, row in zip(lines[150:60:-3], again, strict=True):
        assert np.array_equal(row[row != 1], batch["units"][n][batch["units"][n] != 1])


FAST = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "subsampling_channels": 16}


@pytest.fixture
def hidden_options(stores, corpus, chords):
    """Options of a pre-training on speech and text with hidden units."""
    return {
        "speech_dir": corpus / "train",
        "dev_dir": corpus / "dev",
        "units": "units_hidden",
        "text": chords / "text",
        "dev_text": chords / "dev_text",
        "text_units": stores[0],
        "dev_text_units": stores[1],
        "seed": 3,
    }


def test_a_fast_model_pretrains_on_units_of_20_ms(hidden_options, config, tmp_path):
    """Its frames last 40 ms: every second unit of speech and of text."""
    values = config("pretrain", max_epoch=2, config_size="fast_tiny", model_conf=FAST)
    folder = pretrain(tmp_path / "exp", values, hidden_options)
    assert load_speechlm(folder)[0].config.label_rate == 50
    stats = load_weights_only(folder / "checkpoint.pth")["reporter"]["stats"]
    assert stats[2]["valid"]["loss_ctc"] < stats[1]["train"]["loss_ctc"]
    assert stats[2]["valid"]["loss_top"] < stats[1]["train"]["loss_top"]
    assert stats[2]["valid"]["lines_left_out"] == 0


def test_pretraining_with_hidden_text(hidden_options, stores, chords, config, tmp_path):
    values, options = config("pretrain", max_epoch=2), hidden_options
    pretrain(tmp_path / "exp", values, options)
    stats = load_weights_only(tmp_path / "exp" / "checkpoint.pth")["reporter"]["stats"]
    assert stats[2]["valid"]["loss_ctc"] < stats[1]["train"]["loss_ctc"]
    assert stats[2]["valid"]["lines_left_out"] == 0
    with pytest.raises(ValueError, match="--text with --text_units needs --dev_text_units as well"):
        pretrain(tmp_path / "b", values, {**options, "dev_text_units": None})
    with pytest.raises(ValueError, match="23 units that are not the 364 phones"):
        lexicon = {"text_units": None, "lexicon": chords / "lexicon"}
        pretrain(tmp_path / "c", values, {**options, **lexicon})
    tokens = stores[0] / "tokens.txt"
    before = tokens.read_text()
    try:
        tokens.write_text(before.replace("9\n", "nine\n", 1))
        with pytest.raises(ValueError, match="label 9 is nine in the first and 9 in the second"):
            pretrain(tmp_path / "d", values, options)
    finally:
        tokens.write_text(before)
