"""Pre-training end to end on a corpus of chords, with a model of some thousand weights."""

import copy
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from speechlm.checkpoints.model_dir import SIZES, load_speechlm
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.archives import n_labels
from speechlm.data.lexicon import Lexicon
from speechlm.data.report import Report
from speechlm.data.vocabulary import PHONES
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks.common import parse_training
from speechlm.tasks.epochs import EpochIterFactory
from speechlm.tasks.interrupts import INTERRUPTED
from speechlm.tasks.joint import JointEpochs
from speechlm.tasks.pretrain import PretrainModel, SpeechLMPretrainTask
from speechlm.tasks.resuming import check_resumed
from speechlm.tasks.run_pretrain import pretrain
from speechlm.tasks.speech_units import SpeechUnits
from speechlm.tasks.text_units import TextUnits
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer


def run_to_a_kill(function, *arguments, at_batch: int, number: int = signal.SIGKILL) -> int:
    """Call a training in a child process that gets a signal when it asks for its n-th batch.

    Returns its exit code, negative for the signal that ended it.
    """
    pid = os.fork()
    if pid == 0:
        made = SpeechUnits.batch
        calls = 0

        def batch(self, indices, random):
            nonlocal calls
            calls += 1
            if calls == at_batch:
                os.kill(os.getpid(), number)
            return made(self, indices, random)

        SpeechUnits.batch = batch
        status = 1
        try:
            function(*arguments)
        except SystemExit as end:
            status = end.code
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def losses(folder) -> dict[int, dict]:
    return load_weights_only(folder / "checkpoint.pth")["reporter"]["stats"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_options, config_values):
    """Folder of an undisturbed training, and its configuration."""
    folder = tmp_path_factory.mktemp("trained")
    config = config_values(folder, "pretrain")
    pretrain(folder / "exp", config, data_options)
    return folder / "exp", config


def test_it_learns_both_tasks(trained):
    stats = losses(trained[0])
    for name in ("loss_top", "loss_ctc"):
        assert stats[3]["valid"][name] < 0.9 * stats[1]["train"][name]
    assert 0 < stats[3]["valid"]["accuracy_top"] <= 1
    model, vocabulary = load_speechlm(trained[0])
    assert vocabulary.symbols == PHONES
    final = load_weights_only(trained[0] / "latest.pth")
    assert torch.equal(model.mask_emb, final["speechlm.mask_emb"])
    assert "num_iters_per_epoch: 5" in (trained[0] / "config.yaml").read_text()
    assert "3epoch results" in (trained[0] / "train.log").read_text()


def test_a_fast_model_needs_utterances_of_a_frame(
    tmp_path, config, data_options, make_data_dir, fast_values, rewrite_archive
):
    """Whatever min_samples allows: the paper's frames are of 400 samples, those of 40 ms of 880."""
    data = make_data_dir(tmp_path / "train", 6, 7)
    for number, n in enumerate((400, 879, 880)):
        wave = np.random.default_rng(n).normal(0, 0.1, n)
        data.wav[data.ids[number]] = str(tmp_path / f"{n}.wav")
        soundfile.write(data.wav[data.ids[number]], wave, 16000)
        data.n_samples[data.ids[number]] = n
    data.write(tmp_path / "train")

    def cut(units):
        units.update({u: labels[: n_labels(data.n_samples[u])] for u, labels in units.items()})

    rewrite_archive(tmp_path / "train" / "units_phone", "units", cut)
    values = {"config_size": "fast_tiny", "model_conf": fast_values(), "min_samples": 400}
    path = config("pretrain", **values, max_epoch=1, num_iters_per_epoch=3)
    options = {**data_options, "speech_dir": tmp_path / "train"}
    folder = pretrain(tmp_path / "exp", path, options)
    items = Report.read(folder / "left_out.train.tsv").items
    assert [i.utterance for i in items] == data.ids[:2]
    assert [i.detail for i in items] == [f"{n} samples, fewer than 880" for n in (400, 879)]
    assert load_speechlm(folder)[0].config.is_fast
    path = config("pretrain", config_size="fast_tiny")  # the paper's sizes in model_conf
    with pytest.raises(ValueError, match="^model_conf: .*fast has none.*--config_size fast_tiny"):
        pretrain(tmp_path / "other", path, options)


def test_the_model_is_that_of_the_last_update(tmp_path, config, data_options):
    """Whatever validation says: here the first epoch is "best", the one with the highest loss."""
    path = config("pretrain", max_epoch=2, best_model_criterion=[["valid", "loss", "max"]])
    folder = pretrain(tmp_path / "exp", path, data_options)
    best, last = (
        load_weights_only(folder / f"{name}.pth") for name in ("valid.loss.best", "2epoch")
    )
    mask = load_speechlm(folder)[0].mask_emb
    assert torch.equal(mask, last["speechlm.mask_emb"])
    assert not torch.equal(mask, best["speechlm.mask_emb"])


@pytest.mark.parametrize(("at_batch", "number"), [(3, signal.SIGKILL), (9, signal.SIGTERM)])
def test_stopped_within_an_epoch_it_ends_in_the_same_bits(
    trained, tmp_path, data_options, at_batch, number
):
    """Also if it goes on with another number of loader processes."""
    folder = tmp_path / "exp"
    code = run_to_a_kill(
        pretrain, folder, trained[1], data_options, at_batch=at_batch, number=number
    )
    assert code == (INTERRUPTED if number == signal.SIGTERM else -number)
    assert (folder / "checkpoint.pth").exists() == (number == signal.SIGTERM)
    assert not (folder / "model.safetensors").exists()
    pretrain(folder, trained[1], data_options, ["--num_workers", "2"])
    ours, theirs = (load_weights_only(f / "checkpoint.pth")["model"] for f in (folder, trained[0]))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    same = [(f / "model.safetensors").read_bytes() for f in (folder, trained[0])]
    assert same[0] == same[1]


def test_validation_masks_are_fixed(trained, chords):
    model = PretrainModel(load_speechlm(trained[0])[0], with_text=False).eval()
    batches = JointEpochs(
        SpeechUnits(chords / "dev", "units_phone", 100, 8000), None, 160000, 500, 3, train=False
    )
    seen = []
    for epoch in (1, 2):
        for _, batch in batches.epoch(epoch):
            torch.manual_seed(epoch)
            seen.append(model(**batch)[0].item())
            assert torch.initial_seed() == epoch
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]


def test_speech_alone(tmp_path, config, data_options):
    options = {k: v for k, v in data_options.items() if "text" not in k and k != "lexicon"}
    folder = tmp_path / "exp"
    pretrain(folder, config("pretrain", max_epoch=1), options)
    assert "loss_ctc" not in losses(folder)[1]["valid"]
    assert load_speechlm(folder)[0].config.embed_dim == 32


def batches_of(epochs: JointEpochs, number: int, num_workers: int) -> list:
    """Ids and tensors of an epoch, made by so many loader processes."""
    loader = EpochIterFactory(epochs, num_workers, pin_memory=False).build_iter(number)
    return [(ids, {name: x.tolist() for name, x in batch.items()}) for ids, batch in loader]


@pytest.fixture(scope="module")
def text_units(chords):
    tokenizer = PhonemeTextTokenizer(Lexicon.read(chords / "lexicon"), 3)
    return TextUnits(chords / "text", tokenizer)


@pytest.mark.parametrize("train", [True, False])
def test_batches_do_not_depend_on_loader_processes(chords, text_units, train):
    data = SpeechUnits(chords / "train", "units_phone", 100, 8000, pad_audio=True)
    made = [
        batches_of(JointEpochs(data, text_units, 160000, 500, 3, 1, 2, 7, train), 2, workers)
        for workers in (0, 1, 2)
    ]
    assert len(made[0]) == 7 and made[0] == made[1] == made[2]


def test_epochs_go_on_with_the_text(chords, text_units):
    """Lines come once a pass, over the ends of epochs and at all workers; epochs in any order."""
    data = SpeechUnits(chords / "train", "units_phone", 100, 8000, pad_audio=True)
    workers = [JointEpochs(data, text_units, 160000, 500, 3, rank, 2, 7) for rank in range(2)]
    steps = [w.lines.block_batches for w in workers]
    assert steps[0] == steps[1] > 21
    forwards = [batches_of(workers[0], number, 0) for number in (1, 2, 3, 4)]
    backwards = [batches_of(workers[0], number, 0) for number in (4, 3, 2, 1)]
    assert forwards == backwards[::-1]
    seen = []
    for worker in workers:
        for number in range(1, steps[0] // 7 + 1):
            for step in range(7):
                lines = worker.lines[7 * (number - 1) + step]
                seen += zip(lines.passes, lines.numbers, strict=True)
    assert len(seen) == len(set(seen)) > 200


def test_workers_share_the_text_of_validation(chords, text_units):
    """Every epoch has the same lines, each once, so many as its batches hold."""
    data = SpeechUnits(chords / "dev", "units_phone", 100, 8000)
    lines = []
    for rank in range(2):
        epochs = JointEpochs(data, text_units, 60000, 500, 3, rank, 2, train=False)
        first = [name for ids, _ in epochs.epoch(1) for name in ids if name not in data.ids]
        assert first == [n for ids, _ in epochs.epoch(4) for n in ids if n not in data.ids]
        lines += first
    assert len(lines) == len(set(lines)) == epochs.lines.block_lines > 2 * epochs.steps


def test_workers_share_the_batches(chords):
    data = SpeechUnits(chords / "train", "units_phone", 100, 8000, pad_audio=True)
    seen = []
    for rank in range(3):
        epochs = JointEpochs(data, None, 160000, 500, 3, rank=rank, workers=3)
        loader = EpochIterFactory(epochs, num_workers=1, pin_memory=False).build_iter(2)
        assert len(loader) == epochs.steps
        seen += [utterance for ids, _ in loader for utterance in ids]
    assert sorted(seen) == list(data.ids)


WRONG = [
    ({"batch_sample": 5}, '"batch_sample" .*"batch_samples"'),
    ({"model_conf": {"embed_dims": 32}}, '"embed_dims"; did you mean "embed_dim"'),
    ({"optim_conf": {"lr": 1, "betta": 1}}, 'optim_conf of AdamW: .*"betta" .*"betas"'),
    ({"num_threads": 0}, "num_threads: 1 or more expected, got 0"),
    ({"scheduler_conf": {"warmup": 1}}, 'scheduler_conf of LinearDecayLR: .*"warmup_steps"'),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_unknown_keys_name_the_nearest(tmp_path, config, data_options, changes, message):
    with pytest.raises(ValueError, match=message):
        pretrain(tmp_path / "exp", config("pretrain", **changes), data_options)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--acum_grad", "2", '"acum_grad" .*"accum_grad"'),
        ("--ngpu", "99", "--ngpu 99: torch finds"),
    ],
)
def test_wrong_option_on_the_command_line(tmp_path, config, data_options, option, value, message):
    with pytest.raises(ValueError, match=message):
        pretrain(tmp_path / "exp", config("pretrain"), data_options, [option, value])


def test_other_units_than_the_models_are_refused(trained, tmp_path, data_options, make_data_dir):
    make_data_dir(tmp_path / "other", 4, 9)
    tokens = tmp_path / "other" / "units_phone" / "tokens.txt"
    tokens.write_text(tokens.read_text().replace("SPN_B", "SPAN_B"))
    with pytest.raises(ValueError, match="(?s)tokens.txt.*differ"):
        pretrain(trained[0], trained[1], {**data_options, "speech_dir": tmp_path / "other"})


def test_training_goes_on_as_it_was_begun(trained, tmp_path, config, data_options, capsys):
    folder = tmp_path / "exp"
    folder.mkdir()
    for name in ("checkpoint.pth", "config.yaml", "tokens.txt"):
        shutil.copy(trained[0] / name, folder)
    begun = (folder / "config.yaml").read_text()
    values = yaml.safe_load(Path(trained[1]).read_text())
    other = {**values["model_conf"], "embed_dim": 48}
    with pytest.raises(ValueError, match="model_conf.embed_dim: 32, now 48"):
        pretrain(folder, config("pretrain", model_conf=other), data_options)
    with pytest.raises(ValueError, match="optim: adamw, now sgd"):
        pretrain(folder, config("pretrain", optim="sgd", optim_conf={}), data_options)
    assert (folder / "config.yaml").read_text() == begun
    lr = {**values["optim_conf"], "lr": 1e-4}
    args = parse_training(
        SpeechLMPretrainTask,
        folder,
        config("pretrain", optim_conf=lr),
        data_options,
        ["--ngpu", "0"],
    )
    check_resumed(args)
    log = capsys.readouterr().err
    assert "optim_conf.lr: 0.005, now 0.0001" in log
    assert log.count("goes on with another value") == 1


def tiny_model(seed=0) -> PretrainModel:
    torch.manual_seed(seed)
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0, "ctc_dropout": 0.0}
    sizes = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "speech_layers": 1, "shared_layers": 1}
    model = SpeechLM(SpeechLMConfig.tiny(**quiet, **sizes), 369, 33)
    return PretrainModel(model, with_text=True).eval()  # validation's seeds fix the masks


def worker_batch(rank: int) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(rank)
    samples = 9000 + 4000 * rank  # the workers mask different numbers of frames
    return {
        "waveforms": torch.tensor(random.normal(0, 0.1, (2, samples)), dtype=torch.float32),
        "sample_lengths": torch.tensor([samples, samples]),
        "labels": torch.tensor(random.integers(4, 300, (2, samples // 160 - 2))),
        "units": torch.tensor(random.integers(4, 300, (2, 40 + rank))),
        "characters": torch.tensor(random.integers(4, 30, (2, 12))),
        "seed": torch.tensor(11 + rank),
    }


def test_a_batch_without_usable_text_still_reports_it():
    model = copy.deepcopy(tiny_model())
    batch = {k: v for k, v in worker_batch(0).items() if k not in ("units", "characters")}
    _, stats, _ = model(**batch)
    assert stats["loss_ctc"].isnan().all() and stats["loss"].isfinite().all()
    assert stats["impossible_lines"] == 0
    counts = {"lines_left_out": 3, "impossible_lines": 2, "unknown_words": 0}
    _, stats, _ = model(**batch, **{name: torch.tensor(n) for name, n in counts.items()})
    assert stats["impossible_lines"] == 2 and stats["lines_left_out"] == 3


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("size", ["base", "large", "tiny", "fast_tiny"])
def test_every_batch_gives_every_weight_a_gradient(size, with_text, model_values, fast_values):
    """Unless layers are dropped: workers need not look for weights without one."""
    values = fast_values() if size.startswith("fast") else model_values()
    drop = {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0}
    config = SIZES[size](**{**values, **drop})
    torch.manual_seed(0)
    model = PretrainModel(SpeechLM(config, 369, 33), with_text=True)
    batch = worker_batch(0)
    if not with_text:
        batch = {k: v for k, v in batch.items() if k not in ("units", "characters")}
    model(**batch)[0].sum().backward()
    trained = {name: w for name, w in model.named_parameters() if w.requires_grad}
    assert [name for name, weight in trained.items() if weight.grad is None] == []


def test_weights_without_a_gradient_are_looked_for_where_there_may_be_some(
    tmp_path, config, data_options
):
    def looked_for(options=data_options, **changes):
        path = config("pretrain", **changes)
        args = parse_training(SpeechLMPretrainTask, tmp_path, path, options, [])
        assert args.unused_parameters is None
        return SpeechLMPretrainTask.may_leave_unused(args)

    values = yaml.safe_load(Path(config("pretrain")).read_text())["model_conf"]
    assert not looked_for()
    assert looked_for(model_conf={**values, "shared_layerdrop": 0.1})
    assert looked_for(model_conf={**values, "feature_grad_mult": 0.0})
    assert looked_for({k: v for k, v in data_options.items() if "text" not in k})
