"""N-gram models: valid ARPA, by-hand values, pruning, agreement with lmplz, perplexity."""

import itertools
import json
import math
import os
import random
import shutil

import numpy as np
import pytest

from speechlm.data.text_corpus import read_sentences
from speechlm.lm.kneser_ney import KneserNey, check_prune, discounts_of
from speechlm.lm.ngram import _complete_unigrams, perplexity, read_words, train

WORDS = [f"W{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(300)]


def _sentences(n, seed):
    """Sentences of a language with structure: each word has its own few likely followers."""
    rng = random.Random(7)
    weights = [1 / (k + 1) for k in range(300)]
    followers = {word: rng.choices(WORDS, weights, k=12) for word in ["<s>", *WORDS]}
    rng = random.Random(seed)
    for _ in range(n):
        sentence, word = [], "<s>"
        for _ in range(rng.randint(1, 14)):
            word = rng.choice(followers[word] if rng.random() < 0.8 else WORDS)
            sentence.append(word)
        yield " ".join(sentence)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ngram")
    for name, n, seed in (("train.txt", 4000, 1), ("held_out.txt", 600, 2)):
        (folder / name).write_text("\n".join(_sentences(n, seed)) + "\n")
    return folder


class Arpa:
    """A plain reader of ARPA files, with probabilities by the back-off definition."""

    def __init__(self, path):
        self.rows = {}
        self.counts = {}
        self.sections = {}
        section = 0
        for line in path.read_text().splitlines():
            if line.startswith("ngram "):
                n, count = line[6:].split("=")
                self.counts[int(n)] = int(count)
            elif line.endswith("-grams:"):
                section = int(line[1])
            elif section and line and line != "\\end\\":
                fields = line.split("\t")
                words = tuple(fields[1].split())
                assert len(words) == section and words not in self.rows
                self.rows[words] = (float(fields[0]), float(fields[2]) if fields[2:] else 0.0)
                self.sections[section] = self.sections.get(section, 0) + 1
        assert line == "\\end\\"

    def log10(self, history, word):
        gram = (*history, word)
        if gram in self.rows:
            return self.rows[gram][0]
        if not history:
            return self.rows[("<unk>",)][0]
        return self.rows.get(tuple(history), (0, 0.0))[1] + self.log10(history[1:], word)

    def check(self):
        assert self.sections == {n: count for n, count in self.counts.items() if count}
        for gram in self.rows:
            if len(gram) > 1:
                assert gram[:-1] in self.rows and gram[1:] in self.rows, gram
        vocabulary = [words[0] for words in self.rows if len(words) == 1 and words != ("<s>",)]
        rng = random.Random(0)
        contexts = [gram for gram in self.rows if "</s>" not in gram and "<unk>" not in gram]
        contexts = [c for c in contexts if len(c) < max(self.counts)]
        chosen = rng.sample(contexts, min(40, len(contexts)))
        chosen += [(), ("<s>",), ("NEVER", "SEEN"), (vocabulary[0], vocabulary[0])]
        for context in chosen:
            total = sum(10 ** self.log10(context, word) for word in vocabulary)
            assert abs(total - 1) < 2e-5, (context, total)
        return vocabulary


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("prune", [(0,), (0, 1, 2)])
def test_arpa_is_a_distribution(texts, tmp_path, order, prune):
    vocabulary = [*WORDS, "UNSEEN", "ALSO'UNSEEN"]
    prune = prune[:order]
    used = train([texts / "train.txt"], tmp_path / "lm", order, vocabulary, prune, "built_in")
    arpa = Arpa(tmp_path / "lm")
    assert used == "built_in" and list(arpa.counts) == list(range(1, order + 1))
    assert {*arpa.check()} == {*vocabulary, "</s>", "<unk>"}
    assert arpa.rows[("UNSEEN",)][0] == arpa.rows[("<unk>",)][0] > -8


def test_words_outside_the_vocabulary_are_counted_but_left_out(texts, tmp_path):
    train([texts / "train.txt"], tmp_path / "lm", 3, WORDS[:100], (), "built_in")
    arpa = Arpa(tmp_path / "lm")
    assert {*arpa.check()} == {*WORDS[:100], "</s>", "<unk>"}
    whole = KneserNey(read_sentences([texts / "train.txt"]), 3)
    part = KneserNey(read_sentences([texts / "train.txt"]), 3, WORDS[:100])
    for a, b in zip(whole.orders, part.orders, strict=True):
        assert discounts_of(a.adjusted, 1) == discounts_of(b.adjusted, 1)


def _naive(sentences, vocabulary, order):
    """Interpolated Kneser-Ney with dictionaries and the textbook's recursion."""
    counts = [{} for _ in range(order + 1)]
    for sentence in sentences:
        words = ("<s>", *sentence.split(), "</s>")
        for n in range(1, order + 1):
            for start in range(len(words) - n + 1):
                gram = words[start : start + n]
                counts[n][gram] = counts[n].get(gram, 0) + 1
    adjusted = [dict(c) for c in counts]
    for n in range(1, order):
        for gram in adjusted[n]:
            if gram[0] != "<s>":
                adjusted[n][gram] = sum(longer[1:] == gram for longer in counts[n + 1])
    adjusted[1].pop(("<s>",))
    discounts = [None]
    for n in range(1, order + 1):
        values = list(adjusted[n].values())
        discounts.append([0, *discounts_of(np.array(values), n)])

    def probability(gram):
        n, history = len(gram), gram[:-1]
        lower = probability(gram[1:]) if n > 1 else 1 / (len(vocabulary) + 2)
        followers = {g: c for g, c in adjusted[n].items() if g[:-1] == history}
        total = sum(followers.values())
        if not total:
            return lower
        freed = sum(discounts[n][min(c, 3)] for c in followers.values()) / total
        count = followers.get(gram, 0)
        return max(0, count - discounts[n][min(count, 3)]) / total + freed * lower

    return probability


def test_equals_a_naive_implementation(tmp_path):
    vocabulary = WORDS[:8]
    rng = random.Random(3)
    weights = [8, 6, 4, 3, 2, 1, 1]
    sentences = [
        " ".join(rng.choices(vocabulary[:7], weights, k=rng.randint(1, 6))) for _ in range(60)
    ]
    (tmp_path / "text.txt").write_text("\n".join(sentences))
    train([tmp_path / "text.txt"], tmp_path / "lm", 3, vocabulary, (), "built_in")
    arpa, naive = Arpa(tmp_path / "lm"), _naive(sentences, vocabulary, 3)
    words = [*vocabulary, "</s>", "<unk>"]
    checked = 0
    for gram in itertools.product(["<s>", *vocabulary], vocabulary, words):
        for history in (gram[:2], gram[1:2], ()):
            ours = 10 ** arpa.log10(history, gram[2])
            assert math.isclose(ours, naive((*history, gram[2])), rel_tol=2e-5)
            checked += 1
    assert checked > 2000


def test_far_better_than_chance(texts, tmp_path):
    found = []
    for order in (2, 3):
        train([texts / "train.txt"], tmp_path / "lm", order, None, (), "built_in")
        found.append(perplexity(tmp_path / "lm", [texts / "held_out.txt"]).perplexity)
    assert found[0] < 60 and found[1] < 1.1 * found[0]  # the language has no trigrams


@pytest.mark.parametrize(
    ("order", "prune", "n_words"), [(3, (0,), 300), (4, (0, 0, 1, 2), 300), (2, (0,), 120)]
)
def test_agrees_with_lmplz(texts, tmp_path, order, prune, n_words):
    if shutil.which("lmplz") is None:
        pytest.skip("lmplz is not on PATH (tools/install_kenlm.sh builds it)")
    vocabulary = [*WORDS[:n_words], "UNSEEN"]
    models = []
    for estimator in ("lmplz", "built_in"):
        path = tmp_path / estimator
        assert train([texts / "train.txt"], path, order, vocabulary, prune, estimator) == estimator
        models.append(Arpa(path))
        models[-1].check()
    lmplz, own = models
    assert lmplz.rows.keys() == own.rows.keys()
    for gram, values in lmplz.rows.items():
        np.testing.assert_allclose(values, own.rows[gram], atol=2e-5)
    a, b = (perplexity(tmp_path / e, [texts / "held_out.txt"]) for e in ("lmplz", "built_in"))
    assert abs(a.perplexity / b.perplexity - 1) < 1e-3 and a.oov == b.oov


def test_lmplz_output_is_completed(tmp_path):
    arpa = "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\t0\n0\t<s>\t-0.5\n-2\tA\t-1\n"
    arpa += "\n\\2-grams:\n-0.3\t<s> A\n\n\\end\\\n"
    (tmp_path / "in").write_text(arpa)
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as target:
        _complete_unigrams(source, target, ["A", "B", "C"])
    model = Arpa(tmp_path / "out")
    assert model.counts == {1: 5, 2: 1}
    assert model.rows[("B",)] == model.rows[("C",)] == (-1.0, 0.0)
    assert model.rows[("<s>",)] == (-99.0, -0.5) and ("<s>", "A") in model.rows


@pytest.mark.parametrize("result", ["exit 3", "echo broken >&2; exit 1"])
def test_failing_lmplz(texts, tmp_path, monkeypatch, result):
    (tmp_path / "lmplz").write_text(f"#!/bin/sh\ncat > /dev/null\n{result}\n")
    (tmp_path / "lmplz").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ValueError, match=r"lmplz .* failed \([13]\)"):
        train([texts / "train.txt"], tmp_path / "out" / "lm", 3)
    assert os.listdir(tmp_path / "out") == []


def test_perplexity_by_hand(tmp_path):
    (tmp_path / "lm").write_text(
        "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\n-99\t<s>\t0\n-0.5\t</s>\n"
        "-0.25\tA\t-0.125\n\n\\2-grams:\n-0.75\tA A\n\n\\end\\\n"
    )
    (tmp_path / "text").write_text("u1 A A\nu2 B\nu3\n")
    result = perplexity(tmp_path / "lm", [tmp_path / "text"])
    assert (result.sentences, result.words, result.oov) == (2, 3, 1)
    assert math.isclose(result.perplexity, 10 ** (2.125 / 4), rel_tol=1e-5)
    assert math.isclose(result.perplexity_with_oov, 10 ** (3.125 / 5), rel_tol=1e-5)
    (tmp_path / "bad").write_text("no model")
    with pytest.raises(ValueError, match="bad is cut off or damaged, or holds no n-gram model"):
        perplexity(tmp_path / "bad", [tmp_path / "text"])
    with pytest.raises(ValueError, match="missing expected, but it is not there"):
        perplexity(tmp_path / "missing", [tmp_path / "text"])


def test_bad_input(tmp_path):
    for prune in ((1,), (0, 2, 1), (0, 0, 0, 0), (0, -1)):
        with pytest.raises(ValueError, match="prune is"):
            check_prune(prune, 3)
    assert check_prune((0, 1), 4) == [0, 1, 1, 1] and check_prune((), 2) == [0, 0]
    for order in (1, 7):
        with pytest.raises(ValueError, match=f"order of the model is {order}"):
            check_prune((), order)
    with pytest.raises(ValueError, match="no sentences"):
        KneserNey(["", " "], 3)
    with pytest.raises(ValueError, match="must not be in the text: 'A <unk>'"):
        KneserNey(["A <unk>"], 2)
    with pytest.raises(ValueError, match="expected one of"):
        train([], tmp_path / "x", 3, estimator="srilm")
    for text, message in (("", "empty"), ("A\nB C\n", "line.s. 2"), ("A\nA\n", "A twice")):
        (tmp_path / "words").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_words(tmp_path / "words")


@pytest.mark.parametrize("text", ["B B |\nA\tA |\nA A H |\n", "B B IY1\nA AH0\nA EY1\n", "B\nA\n"])
def test_the_vocabulary_may_be_a_lexicon(tmp_path, text):
    (tmp_path / "words").write_text(text)
    assert read_words(tmp_path / "words") == ["B", "A"]


def test_programs(run_main, texts, tmp_path):
    (tmp_path / "words.txt").write_text("\n".join([*WORDS, "UNSEEN"]) + "\n")
    words = ["--text", texts / "train.txt", "--vocabulary", tmp_path / "words.txt", "--order", 3]
    model = tmp_path / "word_lm/lm.arpa"
    done = run_main("train_ngram", "--estimator", "built_in", *words, "--output", model)
    assert done.returncode == 0, done.stderr
    done = run_main("perplexity", "--lm", model, "--text", texts / "held_out.txt")
    figures = json.loads(done.stdout)
    assert figures["sentences"] == 600 and figures["oov"] == 0 and figures["perplexity"] < 60
    assert not done.stderr
