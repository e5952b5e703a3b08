"""N-gram language models of words as ARPA files, by lmplz or by our own estimator; perplexity.

Both estimators give interpolated modified Kneser-Ney models, equal but for rounding. lmplz keeps
its counts on disk and is the one for corpora of hundreds of millions of words; the built-in one
holds them in memory (some 130 bytes a word of text for trigrams).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from speechlm.data.atomic import output_file
from speechlm.data.encoding import text_lines
from speechlm.data.text_corpus import read_sentences
from speechlm.lm.kneser_ney import SPECIAL_WORDS, KneserNey, check_prune
from speechlm.lm.ngram_scores import NgramLM
from speechlm.lm.spellings import read_spellings

ESTIMATORS = ("auto", "lmplz", "built_in")
LMPLZ_MEMORY = "500M"


def read_words(path: str | Path) -> list[str]:
    """Words of a list, one a line, or of a lexicon that `read_spellings` takes.

    Raises:
        ValueError: lines that are not one word nor a lexicon's, or doubles in a list.
    """
    lines = [line.split() for _, line in text_lines(path)]
    if sum(len(line) > 1 for line in lines) > len(lines) / 2:
        return list(read_spellings(path))
    bad = [n for n, line in enumerate(lines, 1) if len(line) != 1]
    if bad or not lines:
        where = f"line(s) {', '.join(map(str, bad[:10]))}" if bad else "an empty file"
        raise ValueError(f"{path}: expected one word a line, found {where}")
    words = [line[0] for line in lines]
    wrong = [word for word, n in Counter(words).items() if n > 1 or word in SPECIAL_WORDS]
    if wrong:
        raise ValueError(
            f"{path}: {' '.join(wrong[:10])} twice in the list or reserved; expected every word "
            "once, without <s>, </s> and <unk>"
        )
    return words


def train(
    texts: Sequence[str | Path],
    output: str | Path,
    order: int,
    vocabulary: Sequence[str] | None = None,
    prune: Sequence[int] = (),
    estimator: str = "auto",
) -> str:
    """Write an ARPA model of the texts (atomically); returns the estimator used.

    `vocabulary`: the words of the model (None: those of the texts); each gets a unigram, with a
    count or without. `prune`: for each order, n-grams seen that often or less are left out.
    `estimator`: `lmplz`, `built_in`, or `auto` for lmplz if it is on PATH.
    """
    prune = check_prune(prune, order)
    program = shutil.which("lmplz")
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; expected one of {', '.join(ESTIMATORS)}")
    if estimator == "lmplz" and program is None:
        raise ValueError("lmplz is not on PATH; run tools/install_kenlm.sh, or use built_in")
    sentences = read_sentences(texts)
    with output_file(output) as temporary:
        if program and estimator != "built_in":
            _run_lmplz(program, sentences, Path(temporary), order, vocabulary, prune)
            return "lmplz"
        KneserNey(sentences, order, vocabulary, prune).write_arpa(temporary)
        return "built_in"


def _run_lmplz(
    program: str,
    sentences: Iterable[str],
    output: Path,
    order: int,
    vocabulary: Sequence[str] | None,
    prune: Sequence[int],
) -> None:
    """Let lmplz estimate, then give words without a count the probability of `<unk>`.

    --vocab_pad makes the uniform share that of the whole vocabulary, so that all still adds up.
    """
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".lmplz.") as folder:
        arpa, words, log = (Path(folder) / name for name in ("lm.arpa", "words.txt", "log"))
        command = [program, "-o", str(order), "-S", LMPLZ_MEMORY, "-T", folder]
        command += ["--discount_fallback", "--arpa", str(arpa)]
        command += ["--prune", *map(str, prune)]
        if vocabulary is not None:
            words.write_text("".join(f"{word}\n" for word in vocabulary), encoding="utf-8")
            command += ["--limit_vocab_file", str(words)]
            command += ["--vocab_pad", str(len(vocabulary) + 2)]
        with open(log, "wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors)
            n_sentences = _feed(process, sentences)
        if not n_sentences:
            raise ValueError("no sentences to estimate a language model from")
        if process.returncode:
            tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-10:])
            raise ValueError(f"{' '.join(command)} failed ({process.returncode}):\n  {tail}")
        with open(arpa, encoding="utf-8") as source, open(output, "w", encoding="utf-8") as target:
            _complete_unigrams(source, target, vocabulary or ())


def _feed(process: subprocess.Popen[bytes], sentences: Iterable[str]) -> int:
    """Write sentences to a program's input and wait for its end; stops early if it has died."""
    n_sentences = 0
    assert process.stdin is not None
    try:
        for sentence in sentences:
            process.stdin.write(f"{sentence}\n".encode())
            n_sentences += 1
        process.stdin.close()
    except BrokenPipeError:
        n_sentences = max(1, n_sentences)
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
    return n_sentences


def _complete_unigrams(source: IO[str], target: IO[str], vocabulary: Sequence[str]) -> None:
    """Copy an ARPA file, adding unigrams for the words of the vocabulary that it lacks."""
    head, unigrams = [], []
    for line in source:
        if line.startswith("\\1-grams:"):
            break
        head.append(line)
    for line in source:
        if not line.strip():
            break
        unigrams.append(line.rstrip("\n").split("\t"))
    known = {row[1]: row for row in unigrams}
    known["<s>"][0] = "-99"
    missing = [word for word in vocabulary if word not in known]
    unigrams += [[known["<unk>"][0], word, "0"] for word in missing]
    for line in head:
        is_count = line.startswith("ngram 1=")
        target.write(f"ngram 1={len(unigrams)}\n" if is_count else line)
    target.write("\\1-grams:\n")
    target.writelines("\t".join(row) + "\n" for row in unigrams)
    target.write("\n")
    shutil.copyfileobj(source, target)


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts sentences.

    `oov`: words that it does not have. `perplexity`: a word or end of sentence, without those
    words; `perplexity_with_oov`: with what the model gives `<unk>`.
    """

    sentences: int
    words: int
    oov: int
    perplexity: float
    perplexity_with_oov: float

    def as_dict(self) -> dict[str, float]:
        """The fields by name."""
        return asdict(self)


def perplexity(lm: str | Path, texts: Sequence[str | Path]) -> Perplexity:
    """Perplexity of texts under a model: an ARPA file, its .gz, or KenLM's binary format.

    Raises:
        ValueError: the model cannot be read or the texts are empty.
    """
    model = NgramLM(lm)
    sentences = tokens = oov = 0
    known = unknown = 0.0
    for sentence in read_sentences(texts):
        sentences += 1
        for log10, is_oov in model.word_scores(sentence):
            tokens += 1
            oov += is_oov
            if is_oov:
                unknown += log10
            else:
                known += log10
    if not sentences:
        raise ValueError(f"no sentences in {' '.join(map(str, texts))}")
    with_oov = 10 ** (-(known + unknown) / tokens)
    return Perplexity(sentences, tokens - sentences, oov, 10 ** (-known / (tokens - oov)), with_oov)
