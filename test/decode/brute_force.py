"""Decoding by trying all sentences: slow definitions that the searches are compared with."""

import itertools
import math

import numpy as np

from speechlm.data.vocabulary import CharacterVocabulary

VOCABULARY = CharacterVocabulary()
LN10 = math.log(10.0)
LEXICON = """\
A\tA |
AB\tA B |
B\tB |
BAB\tB A B |
BB\tB B |
BEE\tB |
BEE\tB B |
"""
"""Doubled letters, words that begin others, words of one spelling, a word of two spellings."""


def lexicon():
    """(word, spelling with `|`) of each line of LEXICON."""
    rows = (line.split("\t") for line in LEXICON.splitlines())
    return [(word, spelling.replace(" ", "")) for word, spelling in rows]


class RandomTrigram:
    """A trigram model in which an n-gram is at least as likely as by backing off.

    `table`: n-gram -> (log10 of its probability, log10 of its back-off weight).
    """

    def __init__(self, rng, words):
        self.table = {}
        predicted = [*words, "</s>"]
        unigram = dict(zip(predicted, rng.dirichlet(np.ones(len(predicted))), strict=True))
        self._add((), unigram, 0.0, unigram)
        self.table["<s>",] = (-99.0, 0.0)
        contexts = [(word,) for word in [*words, "<s>"]]
        contexts += [(first, word) for (first,) in contexts for word in words]
        for context in contexts:
            # p(w | h) = lambda p(w | shorter h) + (1 - lambda) seen(w | h): lambda is the back-off
            # weight, and adds up with the words that were not seen
            if len(context) == 2 and context not in self.table:
                continue
            known = [w for w in predicted if (*context[1:], w) in self.table]
            seen = [w for w in known if rng.random() < 0.5]
            if not seen:
                continue
            lower = {w: 10 ** self.word(context[1:], w) for w in seen}
            share, own = rng.uniform(0.2, 0.8), rng.dirichlet(np.ones(len(seen)))
            explicit = {
                w: share * lower[w] + (1 - share) * p for w, p in zip(seen, own, strict=True)
            }
            self._add(context, explicit, math.log10(share), lower)

    def _add(self, context, explicit, back_off, lower):
        if context:
            self.table[context] = (self.table[context][0], back_off)
        for word, p in explicit.items():
            self.table[(*context, word)] = (math.log10(p), 0.0)

    def word(self, context, word):
        """Log10 P(word | context)."""
        if (*context, word) in self.table:
            return self.table[(*context, word)][0]
        return self.table.get(context, (0.0, 0.0))[1] + self.word(context[1:], word)

    def sentence(self, words):
        """Log10 P(words, </s>)."""
        line = ["<s>", *words, "</s>"]
        return sum(self.word(tuple(line[max(0, n - 2) : n]), line[n]) for n in range(1, len(line)))

    def in_graph(self, words):
        """As `sentence`, but as a graph has it: one may back off where the n-gram is there, too.

        The best way counts. It differs where a word that follows needs no back-off weight then.
        """
        states = {("<s>",): 0.0}
        for word in [*words, "</s>"]:
            following = {}
            for context, score in states.items():
                for used in (context[n:] for n in range(len(context) + 1)):
                    if (*used, word) in self.table:
                        target = (*used, word)[-2:]
                        total = score + self.table[(*used, word)][0]
                        following[target] = max(total, following.get(target, -math.inf))
                    if used:
                        score += self.table[used][1]
            states = following
        return max(states.values())

    def write(self, path):
        """Write an ARPA file."""
        orders = [[g for g in self.table if len(g) == n] for n in (1, 2, 3)]
        with open(path, "w") as file:
            file.write("\\data\\\n")
            for n, grams in enumerate(orders, 1):
                file.write(f"ngram {n}={len(grams)}\n")
            for n, grams in enumerate(orders, 1):
                file.write(f"\n\\{n}-grams:\n")
                for gram in grams:
                    p, back_off = self.table[gram]
                    more = "" if n == 3 or gram == ("</s>",) else f"\t{back_off:.7f}"
                    file.write(f"{p:.7f}\t{' '.join(gram)}{more}\n")
            file.write("\n\\end\\\n")


def random_emissions(rng, frames, spread=2.0):
    """(T, V) log-probabilities in which the toy lexicon's characters are likely."""
    logits = np.full((frames, VOCABULARY.n_ids), -6.0)
    used = [VOCABULARY.blank, *(VOCABULARY.symbols.index(c) for c in "|AB")]
    logits[:, used] = rng.normal(0, spread, (frames, len(used)))
    return log_softmax(logits)


def log_softmax(logits):
    """Of the last axis; float32."""
    logits = logits - logits.max(-1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def alignment_score(emissions, characters, blank_score=0.0, silence=False, add=max):
    """Score of the alignments of a string with the frames; -inf where there is none.

    Args:
        emissions: (T, V).
        characters: the string, `|` after each word.
        blank_score: subtracted for each blank frame.
        silence: whether `|` may stand between words without ending one, as in flashlight.
        add: max for the best alignment, np.logaddexp for all.
    """
    ids = [VOCABULARY.symbols.index(c) for c in characters]
    ends = {0, *(n for n, c in enumerate(characters, 1) if c == "|")}
    blank, word_end = VOCABULARY.blank, VOCABULARY.word_end
    # (characters so far, last frame's label) -> score
    states = {(0, blank): 0.0}
    for frame in emissions.astype(float):
        following = {}

        def reach(state, label, score, frame=frame, following=following):
            score += frame[label] - (blank_score if label == blank else 0.0)
            key = (state, label)
            following[key] = add(following[key], score) if key in following else score

        for (done, last), score in states.items():
            reach(done, blank, score)
            between = silence and done in ends
            if last != blank and not (between and last == word_end):
                reach(done, last, score)
            if between:
                reach(done, word_end, score)
            if done < len(ids) and ids[done] != last:
                reach(done + 1, ids[done], score)
        states = following
    final = [score for (done, _), score in states.items() if done == len(ids)]
    total = -math.inf
    for score in final:
        total = add(total, score)
    return total


def all_sentences(emissions, log10_of, weights, silence=False, add=max):
    """All sentences that fit in the frames: (total, acoustic, log10 P, words), best first.

    The total is the objective of `speechlm.decode.ctc_search`.

    Args:
        emissions: (T, V).
        log10_of: log10 P(words, </s>) of a tuple of words.
        weights: of the objective.
        silence, add: as in `alignment_score`.
    """
    of_string, of_words = {}, {}
    for n in range(len(emissions) // 2 + 1):
        for entries in itertools.product(lexicon(), repeat=n):
            string = "".join(spelling for _, spelling in entries)
            if len(string) > len(emissions):
                continue
            if string not in of_string:
                of_string[string] = alignment_score(
                    emissions, string, weights.blank_score, silence, add
                )
            words = tuple(word for word, _ in entries)
            of_words[words] = add(of_words.get(words, -math.inf), of_string[string])
    found = []
    for words, acoustic in of_words.items():
        log10 = log10_of(words)
        total = acoustic + weights.lm_weight * log10 + weights.word_score * len(words)
        if total > -math.inf:
            found.append((total, acoustic, log10, words))
    return sorted(found, reverse=True)


def assert_list(entries, wanted, weights, atol=1e-4, least=None):
    """An n-best list has the scores and the order of `wanted`, and at least the best of these.

    Args:
        entries: the list.
        wanted: what `all_sentences` gives.
        weights: of the objective.
        atol: by how much scores may differ; sentences that are nearer to each other may change
            places.
        least: how many of the best must be there; None: all.
    """
    least = len(wanted) if least is None else least
    scores = {words: row for *row, words in wanted}
    assert len({entry.words for entry in entries}) == len(entries) >= least
    for entry in entries:
        row = (entry.total(weights), entry.acoustic, entry.ngram)
        np.testing.assert_allclose(row, scores[entry.words], atol=atol, err_msg=str(entry.words))
    totals = [entry.total(weights) for entry in entries]
    assert (np.diff(totals) < atol).all()
    np.testing.assert_allclose(totals[:least], [row[0] for row in wanted[:least]], atol=atol)
