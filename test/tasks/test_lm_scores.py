"""Scores of a word Transformer: in batches, one by one and word by word they are the same."""

import numpy as np
import pytest
import torch

import speechlm.tasks  # noqa: F401
from speechlm.tasks import lm_scores
from speechlm.tasks.lm import WordLanguageModel, WordTransformer
from speechlm.tasks.lm_scores import NeuralLM, perplexity
from speechlm.tasks.lm_words import UNKNOWN, WordList, padded

WORDS = ("A", "BEE", "CAT", "DOG", "EEL", "FOX", "GNU")
SENTENCES = ["A CAT", "", "DOG", "THE CAT", "A CAT", "GNU FOX EEL DOG CAT BEE A", " A  CAT\t"]


@pytest.fixture(scope="module")
def lm() -> NeuralLM:
    torch.manual_seed(3)
    words = WordList(WORDS, "the test")
    size = len(words.tokens)
    network = WordTransformer(
        size, pos_enc="sinusoidal", embed_unit=12, att_unit=16, head=2, unit=24, layer=3
    )
    return NeuralLM(WordLanguageModel(network, size), words)


def by_definition(lm: NeuralLM, sentence: str) -> list[float]:
    """log P of each word and of </s>: ESPnet's forward pass of the whole prefix, each time."""
    ids = [lm.end, *lm.word_ids(sentence.split()), lm.end]
    scores = []
    for n in range(1, len(ids)):
        with torch.no_grad():
            found, _ = lm.model.lm.forward(torch.tensor([ids[:n]]), None)
        exponentials = np.exp(found[0, -1].double().numpy())
        scores.append(float(np.log(exponentials[ids[n]] / exponentials.sum())))
    return scores


def test_scores_are_natural_logarithms_of_the_words_and_the_end(lm):
    wanted = [sum(by_definition(lm, sentence)) for sentence in SENTENCES]
    np.testing.assert_allclose(lm.sentence_scores(SENTENCES), wanted, atol=1e-5)


@pytest.mark.parametrize("batch_words", [1, 3, 8, 9, 1000])
def test_batches_change_nothing(lm, batch_words):
    one_by_one = np.concatenate([lm.sentence_scores([text]) for text in SENTENCES])
    found = lm.sentence_scores(SENTENCES, batch_words=batch_words)
    np.testing.assert_allclose(found, one_by_one, atol=1e-5)
    assert found.dtype == np.float64 and lm.sentence_scores([]).shape == (0,)


def test_the_loss_of_training_is_a_mean_over_words_and_ends(lm):
    texts = ["A CAT", "DOG", "GNU FOX EEL DOG CAT BEE A"]
    batch = padded([lm.word_ids(text.split()) for text in texts])
    with torch.no_grad():
        loss, stats, weight = lm.model(**batch)
    assert float(weight) == 2 + 1 + 7 + 3 and stats["loss"] == loss
    assert float(loss) == pytest.approx(-lm.sentence_scores(texts).sum() / 13, rel=1e-5)


def test_equal_sentences_are_computed_once_and_batches_keep_their_limit(lm, monkeypatch):
    sizes = []
    nll = lm.model.nll

    def counted(text, lengths):
        sizes.append((len(text), text.shape[1] + 1))
        return nll(text, lengths)

    monkeypatch.setattr(lm.model, "nll", counted)
    lm.sentence_scores(SENTENCES * 50, batch_words=8)
    assert sum(rows for rows, _ in sizes) == len({" ".join(text.split()) for text in SENTENCES})
    assert all(rows * longest <= 8 for rows, longest in sizes)


def test_unknown_words_are_counted_and_scored_as_unk(lm):
    assert lm.unknown_words(SENTENCES) == 1 and lm.unknown_words(["a cat <unk> A"]) == 3
    same = lm.sentence_scores(["THE CAT", "OWL CAT", "<unk> CAT", "A CAT"])
    assert same[0] == same[1] == same[2] != same[3]
    assert lm.word_ids(["A", "OWL", "GNU"]).tolist() == [2, UNKNOWN, 8] and lm.end == 9


def test_word_by_word_is_the_same(lm):
    """All sentences at once, a word each as long as they last: states of many lengths in a step."""
    rows = [list(lm.word_ids(text.split())) for text in SENTENCES]
    states, totals = [lm.start() for _ in rows], np.zeros(len(rows))
    for turn in range(max(map(len, rows)) * 2):
        # every second turn only the odd rows go on, so that lengths differ within a step
        going = [n for n, row in enumerate(rows) if row and (turn % 2 or n % 2)]
        words = [rows[n].pop(0) for n in going]
        if not going:
            continue
        before = [states[n] for n in going]
        totals[going] += lm.word_scores(before, words)
        everything = lm.log_probs(before)
        np.testing.assert_allclose(everything.exp().sum(1), 1.0, atol=1e-5)
        for n, state in zip(going, lm.step(before, words), strict=True):
            states[n] = state
    assert not any(rows)
    totals += lm.word_scores(states, [lm.end] * len(states))
    np.testing.assert_allclose(totals, lm.sentence_scores(SENTENCES), atol=1e-5)


def test_requested_words_are_those_of_all_words(lm, monkeypatch):
    states = lm.step([lm.start()] * 4, lm.word_ids(["A", "BEE", "CAT", "DOG"]))
    states += lm.step(states[1:3], lm.word_ids(["EEL", "FOX"]))
    monkeypatch.setattr(lm_scores, "MAX_SCORES", 2 * len(lm.words.tokens))  # two states at a time
    words = np.array([2, 9, 1, 4, 2, 9])
    everything = lm.log_probs(states).double().numpy()
    for _ in range(2):  # the second time from what the states keep
        found = lm.word_scores(states, words)
        np.testing.assert_allclose(found, everything[np.arange(6), words], atol=1e-5)


def test_states_share_what_their_words_share(lm):
    first = lm.step([lm.start()], lm.word_ids(["CAT"]))[0]
    left, right = lm.step([first, first], lm.word_ids(["DOG", "EEL"]))
    assert left.layers[:2] == first.layers and left.layers[1] is right.layers[1]
    assert left.layers[2].untyped_storage().nbytes() <= 2 * 3 * 16 * 4  # of this step, 2 states


def test_perplexity_counts_as_that_of_ngrams(lm, tmp_path):
    """The same sentences, words and unknown words as `bin/perplexity` of an ARPA file counts."""
    pytest.importorskip("kenlm")
    from speechlm.lm import ngram

    text = tmp_path / "dev.txt"
    text.write_text("A CAT\n\n  \nTHE CAT SAW OWL\nGNU\n")
    ngram.train([text], tmp_path / "lm.arpa", 2, WORDS, estimator="built_in")
    other, found = ngram.perplexity(tmp_path / "lm.arpa", [text]), perplexity(lm, [text])
    assert [found.sentences, found.words, found.oov] == [other.sentences, other.words, other.oov]
    assert [found.sentences, found.words, found.oov] == [3, 7, 3]
    scores = [by_definition(lm, line) for line in ("A CAT", "THE CAT SAW OWL", "GNU")]
    strange = scores[1][0] + scores[1][2] + scores[1][3]
    total = sum(map(sum, scores))
    assert found.perplexity_with_oov == pytest.approx(np.exp(-total / 10), rel=1e-5)
    assert found.perplexity == pytest.approx(np.exp(-(total - strange) / 7), rel=1e-5)
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"no sentences in .*empty.txt"):
        perplexity(lm, [tmp_path / "empty.txt"])
