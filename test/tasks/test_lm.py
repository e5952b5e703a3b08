"""Training of the word Transformer: from texts and a lexicon to a folder that others can read."""

import json
import logging
import re

import numpy as np
import pytest
import torch
import yaml

import speechlm.tasks  # noqa: F401
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.lm import ngram
from speechlm.tasks import lm as lm_module
from speechlm.tasks.lm import WordLanguageModel, WordTransformer
from speechlm.tasks.lm_batches import SentenceEpochs
from speechlm.tasks.lm_scores import NeuralLM, perplexity
from speechlm.tasks.lm_words import Sentences, WordList
from speechlm.tasks.run_lm import train_lm

from espnet2.tasks.lm import LMTask  # isort: skip

NAMES, FILLED = ("ANN", "BOB", "CAL", "DOT"), ("SAW", "THE", "CAT")
NO_DROPOUT = dict.fromkeys(
    ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate"), 0.0
)
CONFIG = {
    "lm_conf": {"embed_unit": 32, "att_unit": 32, "head": 2, "unit": 64, "layer": 2, **NO_DROPOUT},
    "batch_words": 600,
    "max_epoch": 3,
    "num_iters_per_epoch": 40,
    "optim_conf": {"lr": 6.0e-3, "betas": [0.9, 0.98]},
    "scheduler_conf": {"warmup_ratio": 0.1, "hold_ratio": 0.3, "decay_ratio": 0.6},
    "keep_nbest_models": 1,
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
}


def sentences(n: int, seed: int) -> list[str]:
    """A name, three words of no matter, and the name again: what no trigram can know."""
    random = np.random.default_rng(seed)
    names = random.choice(NAMES, n)
    return [" ".join([name, *random.choice(FILLED, 3), name]) for name in names]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder with train.txt, a Kaldi transcript dev/text, a lexicon and a configuration."""
    folder = tmp_path_factory.mktemp("lm")
    (folder / "train.txt").write_text("".join(f"{s}\n" for s in sentences(1500, 1)))
    (folder / "dev").mkdir()
    lines = [f"utt-{n:03d} {s}\n" for n, s in enumerate(sentences(100, 2))]
    (folder / "dev" / "text").write_text("".join(lines))
    (folder / "words.txt").write_text("".join(f"{w}\n" for w in (*FILLED, *NAMES)))
    (folder / "lm.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def train(corpus, output, lexicon="words.txt", espnet=(), **changes):
    given = {"text": [corpus / "train.txt"], "dev_text": corpus / "dev" / "text", **changes}
    config = str(corpus / "lm.yaml")
    return train_lm(
        output, config, lexicon=corpus / lexicon, options={"seed": 5}, espnet=espnet, **given
    )


@pytest.fixture(scope="module")
def trained(corpus):
    return train(corpus, corpus / "exp")


def test_it_learns_what_trigrams_cannot(trained, corpus):
    dev = corpus / "dev" / "text"
    ngram.train([corpus / "train.txt"], corpus / "lm.arpa", 3, estimator="built_in")
    trigram = ngram.perplexity(corpus / "lm.arpa", [dev])
    info = json.loads((trained / "info.json").read_text())
    found = info["dev"]
    assert found["perplexity"] < 0.85 * trigram.perplexity
    assert (found["words"], found["oov"]) == (trigram.words, 0)
    assert f"| {found['perplexity']:.1f} |" in (trained / "RESULTS.md").read_text()
    stats = load_weights_only(trained / "checkpoint.pth")["reporter"]["stats"]
    best = min(epoch["valid"]["loss"] for epoch in stats.values())
    assert np.exp(best) == pytest.approx(found["perplexity"], rel=1e-4)  # padding has no weight


def test_the_folder_is_opened_and_scores_alike(trained, corpus):
    lm = NeuralLM.load(trained)
    again = perplexity(lm, [corpus / "dev" / "text"])
    assert again.as_dict() == pytest.approx(json.loads((trained / "info.json").read_text())["dev"])
    scores = lm.sentence_scores(["ANN SAW THE CAT ANN", "ANN SAW THE CAT BOB"])
    assert scores[0] > scores[1] + 1


def test_espnet_reads_the_folder_and_gives_the_same(trained):
    """ESPnet's own task, preprocessor and network, without anything of ours."""
    model, args = LMTask.build_model_from_file(
        trained / "config.yaml", trained / "valid.loss.ave.pth"
    )
    assert type(model).__module__ == "espnet2.lm.espnet_model"
    texts = ["BOB SAW THE CAT BOB", "THE", "DOT ZOE SAW SAW THE CAT"]
    preprocess = LMTask.build_preprocess_fn(args, train=False)
    rows = [preprocess("id", {"text": text})["text"] for text in texts]
    _, batch = LMTask.build_collate_fn(args, train=False)(
        [("id", {"text": np.asarray(row)}) for row in rows]
    )
    with torch.no_grad():
        wanted = -model.eval().nll(batch["text"], batch["text_lengths"])[0].sum(1)
    found = NeuralLM.load(trained).sentence_scores(texts)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_an_interrupted_training_ends_in_the_same_weights(trained, corpus, tmp_path, monkeypatch):
    batch = SentenceEpochs.batch

    def killed(self, step):
        if self.lines is not None and step == 55:  # in the second epoch
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SentenceEpochs, "batch", killed)
        train(corpus, tmp_path / "exp")
    assert not (tmp_path / "exp" / "info.json").exists()
    with pytest.raises(ValueError, match=r"info\.json expected.*train_lm writes it"):
        NeuralLM.load(tmp_path / "exp")
    train(corpus, tmp_path / "exp")
    first, second = (
        load_weights_only(folder / "valid.loss.ave.pth") for folder in (trained, tmp_path / "exp")
    )
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    train(corpus, trained)  # it has come to its end: nothing more is trained
    assert (trained / "train.log").read_text().count("epoch started") == 3


def test_other_words_are_refused(trained, corpus):
    (corpus / "more.txt").write_text((corpus / "words.txt").read_text() + "ZEBU\nYAK\n")
    with pytest.raises(ValueError, match=r"differ: 2 words are in .*more\.txt alone: YAK ZEBU"):
        train(corpus, trained, lexicon="more.txt")


def copied(trained, folder):
    folder.mkdir()
    for name in ("config.yaml", "info.json", "tokens.txt", "valid.loss.ave.pth"):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def test_files_that_do_not_belong_together_are_refused(trained, tmp_path):
    folder = copied(trained, tmp_path / "lm")
    tokens = (folder / "tokens.txt").read_text()
    (folder / "tokens.txt").write_text(tokens.replace("ANN\n", "ANA\n"))
    with pytest.raises(ValueError, match=r"tokens\.txt is not the list of words"):
        NeuralLM.load(folder)
    (folder / "tokens.txt").write_text(tokens.replace("<unk>\n", ""))
    with pytest.raises(ValueError, match=r"tokens\.txt: <blank> <unk>, sorted words"):
        NeuralLM.load(folder)
    (folder / "tokens.txt").write_text(tokens)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["lm_conf"]["unit"] = 65
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"valid\.loss\.ave\.pth has not the weights of the model"):
        NeuralLM.load(folder)
    (folder / "valid.loss.ave.pth").write_bytes(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(ValueError, match=r"valid\.loss\.ave\.pth is cut off or damaged"):
        NeuralLM.load(folder)
    with pytest.raises(ValueError, match=r"info\.json expected, but it is not there"):
        NeuralLM.load(tmp_path / "nothing")


def test_texts_of_other_words_and_empty_ones_are_refused(corpus, tmp_path):
    text = tmp_path / "lower.txt"
    text.write_text((corpus / "train.txt").read_text().lower())
    with pytest.raises(ValueError, match=r"lower.txt: \d+ of \d+ words .* upper case"):
        train(corpus, tmp_path / "a", text=[text])
    with pytest.raises(ValueError, match=r"lower.txt: \d+ of \d+ words"):
        train(corpus, tmp_path / "b", dev_text=text)
    blank = tmp_path / "blank.txt"
    blank.write_text("\n \n")
    with pytest.raises(ValueError, match=r"blank.txt: no line has a word"):
        train(corpus, tmp_path / "c", dev_text=blank)
    with pytest.raises(ValueError, match="blank.txt: none of 2 lines .* has 1 to 599 words"):
        train(corpus, tmp_path / "d", text=[blank])
    with pytest.raises((ValueError, FileNotFoundError), match=r"absent\.txt"):
        train(corpus, tmp_path / "e", text=[corpus / "train.txt", tmp_path / "absent.txt"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--lm_conf", "layers=3"], 'lm_conf: unknown option "layers" .*nearest.* "layer"'),
        (["--lm_conf", "head=5"], "att_unit 32 must be a multiple of 2 and head 5"),
        (["--batch_word", "9"], 'unknown option "batch_word" .*"batch_words"'),
    ],
)
def test_wrong_options_are_named(corpus, tmp_path, option, message):
    with pytest.raises(ValueError, match=message):
        train(corpus, tmp_path / "exp", espnet=option)


def test_another_network_is_not_trained_on_in_the_folder(trained, corpus):
    with pytest.raises(ValueError, match=r"another network .*lm_conf\.layer: 2, now 3"):
        train(corpus, trained, espnet=["--lm_conf", "layer=3"])


@pytest.fixture
def texts(tmp_path, corpus):
    """Two texts, one of them Kaldi's, with an empty line and one longer than a batch."""
    plain = [f"{s}\n" for s in sentences(1400, 7)]
    plain[3], plain[700] = " \n", "CAT " * 300 + "\n"
    (tmp_path / "a.txt").write_text("".join(plain))
    (tmp_path / "text").write_text("utt-1 ANN SAW OWL\nutt-2\nutt-3 BOB\n")
    words = WordList.of_lexicon(corpus / "words.txt")
    return Sentences([tmp_path / "a.txt", tmp_path / "text"], words)


def test_lines_of_several_texts_and_their_names(texts, tmp_path):
    assert len(texts) == 1403 and texts[1400] == ["ANN", "SAW", "OWL"] and texts[1401] == []
    assert texts.name(1402) == f"{tmp_path / 'text'}:3"
    assert texts.unit_counts(np.array([3, 700, 1400, 1402])).tolist() == [0, 301, 4, 2]
    batch = texts.batch(np.array([1402, 1400]))
    known = [texts.words.tokens[n] for n in batch["text"].flatten()]
    assert known == ["BOB", "<blank>", "<blank>", "ANN", "SAW", "<unk>"]
    assert batch["text_lengths"].tolist() == [1, 3] and int(batch["unknown_words"]) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_training_has_every_line_and_names_those_left_out(texts, workers, caplog):
    epochs = [SentenceEpochs(texts, 200, 1, rank, workers) for rank in range(workers)]
    assert abs(epochs[0].steps * workers - 1400 * 6 / 200) < 6  # an epoch is about a pass
    found, left_out = [], 0
    blocks = epochs[0].lines.block_batches
    for data in epochs:
        for step in range(blocks):
            names, batch = data.batch(step)
            assert batch["text"].shape[0] * (batch["text"].shape[1] + 1) <= 200
            assert len(names) == len(batch["text"])
            found += names
            left_out += int(batch["lines_left_out"])
    first = found[: len(found) // workers]
    assert len(set(first)) == len(first) == 1400 and left_out == 3 * workers  # a pass a block
    assert re.search(r"a\.txt:4 left out: empty line", caplog.text)
    assert re.search(r"a\.txt:701 left out: 300 words have no room", caplog.text)
    assert re.search(r"text:2 left out: empty line", caplog.text)


def test_validation_has_every_sentence_once_and_lists_empty_lines(texts, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    report = tmp_path / "left_out.valid.tsv"
    parts = [
        SentenceEpochs(texts, 200, 1, rank, 3, train=False, report=report) for rank in range(3)
    ]
    assert len({part.steps for part in parts}) == 1
    names = [n for part in parts for batch in part.epoch(9) for n in batch[0]]
    assert len(names) == len(set(names)) == 1401 and any(n.endswith("a.txt:701") for n in names)
    assert "left out, empty line: 2" in report.read_text() and "a.txt:4" in report.read_text()


def network(size: int) -> WordLanguageModel:
    torch.manual_seed(0)
    conf = {"pos_enc": "sinusoidal", "embed_unit": 8, "att_unit": 8, "head": 2, "unit": 8}
    return WordLanguageModel(WordTransformer(size, layer=1, **conf, **NO_DROPOUT), size)


def test_memory_of_the_output_layer_is_bounded_and_nothing_else_changes(monkeypatch):
    text = torch.tensor([[2, 3, 4, 5], [6, 7, 0, 0], [8, 0, 0, 0]])
    lengths = torch.tensor([4, 2, 1])
    results, sizes = [], []
    plain = WordTransformer._losses

    def recorded(self, hidden, targets):
        sizes.append(len(hidden))
        return plain(self, hidden, targets)

    monkeypatch.setattr(WordTransformer, "_losses", recorded)
    for limit in (1 << 20, 4 * 30):
        monkeypatch.setattr(lm_module, "MAX_SCORES", limit)
        model, sizes[:] = network(30), []
        loss, stats, weight = model(text, lengths)
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
        assert weight == 10 and stats["loss"] == loss
    assert sizes[:3] == [4, 4, 2] and len(sizes) == 6  # forwards, and again backwards
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_a_batch_without_a_line_teaches_nothing():
    model = network(30)
    loss, stats, _ = model(torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss == 0 and torch.isnan(stats["loss"])
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_accumulated_batches_count_by_their_words():
    text = torch.tensor([[2, 3, 4, 5], [6, 7, 0, 0], [8, 0, 0, 0]])
    _, _, weight = network(30)(text, torch.tensor([4, 2, 1]))
    assert weight.tolist() == [10]  # with the ends of the sentences


def test_it_learns_in_bfloat16(corpus, tmp_path):
    folder = train(corpus, tmp_path / "exp", espnet=["--cpu_bfloat16", "true", "--max_epoch", "1"])
    assert json.loads((folder / "info.json").read_text())["dev"]["perplexity"] < 5
