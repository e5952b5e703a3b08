"""Values of decoding, chosen on held-out training utterances: the acoustic scale, and of noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import kaldialign
import numpy as np

from speechlm.data.archives import ArchiveReader
from speechlm.data.kaldi_dir import DataDir
from speechlm.progress import progress
from speechlm.recognizer.decoding import SearchConfig, WordDecoder
from speechlm.recognizer.network import Network
from speechlm.recognizer.noise import NEVER, NOISE_CLASS
from speechlm.recognizer.topology import BASE_OF_PHONE
from speechlm.recognizer.utterance_graph import Pronunciations, unknown_words, variants

SCALES = (0.3, 0.4, 0.5, 0.7, 1.0)
"""Factors of the scores of one 30 ms step."""
PREDICTION_SCALES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""The same for the predictions of a SpeechLM: what it has learned of 20 or 40 ms at once."""
MARGINS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Nats of a step. With the last ones noise is found by the network's own score of it only."""


@dataclass
class HeldOut:
    """Class scores (U, n_classes) and words of utterances that the network has not seen.

    The scores of noise are taken out: many of their words without pronunciation are in the training
    too, so that the network knows these better than it will know others.
    """

    scores: list[np.ndarray]
    words: list[list[str]]

    def add(self, scores: np.ndarray, words: list[str]) -> None:
        """One utterance more; its scores are changed."""
        scores[:, NOISE_CLASS] = NEVER
        self.scores.append(scores)
        self.words.append(words)

    @staticmethod
    def read(data: DataDir, net_data: Path, network: Network, most: int) -> HeldOut:
        """The first `most` utterances of the validation list.

        Raises:
            ValueError: no transcripts, or no validation utterances.
        """
        if data.text is None:
            raise ValueError("transcripts expected, but the data directory has no text")
        feats = ArchiveReader(net_data / "valid" / "feats.scp")
        chosen = [u for u in feats if u in data.text][:most]
        if not chosen:
            raise ValueError(f"{net_data}/valid has no utterance of the data directory")
        held_out = HeldOut([], [])
        for utterance in chosen:
            held_out.add(network.class_scores(feats[utterance]), data.text[utterance].split())
        return held_out

    def decode(self, decoder: WordDecoder, config: SearchConfig) -> list[list[str]]:
        """Words found in each utterance."""
        decoder.config = config
        return [decoder.decode(scores)[0] for scores in self.scores]


def tune(
    data: DataDir,
    held_out: HeldOut,
    known: Pronunciations,
    graph: Path,
    config: SearchConfig,
    scales: Sequence[float] = SCALES,
    margins: Sequence[float] = MARGINS,
) -> SearchConfig:
    """The values of `config` with the best scale and values of noise.

    The scale is the one with fewest word errors. Noise, where the graph has it, is expected as
    often as words of the transcripts have no pronunciation, and gets the largest margin, with least
    noise, whose errors of phones, noise being one, are the fewest or not more by clear difference
    (see `phone_errors`, `least_noise`).

    Args:
        data: all utterances with transcripts.
        held_out: those that are decoded.
        known: pronunciations with which the network's alignments were made.
        graph: folder of the search graph.
        config: the beam, and noise where no held-out utterance has any.
        scales, margins: what is tried.
    """
    decoder = WordDecoder(graph, config)
    quiet = replace(config, noise_rate=0.0)
    errors = {}
    for scale in progress(scales, "acoustic scales"):
        found = held_out.decode(decoder, replace(quiet, acoustic_scale=scale))
        errors[scale] = error_rate(held_out.words, found)
        logging.info("acoustic scale %g: word error rate %.2f %%", scale, errors[scale])
    config = replace(config, acoustic_scale=min(errors, key=lambda s: (errors[s], s)))
    if decoder.finds_noise:
        config = _tune_noise(data, held_out, known, decoder, config, margins)
    return config


def _tune_noise(
    data: DataDir,
    held_out: HeldOut,
    known: Pronunciations,
    decoder: WordDecoder,
    config: SearchConfig,
    margins: Sequence[float],
) -> SearchConfig:
    words = [word for text in (data.text or {}).values() for word in text.split()]
    # counted from one noise among one word more: what is no speech may be anywhere
    rate = (unknown_words(words, known).total() + 1) / (len(words) + 2)
    config = replace(config, noise_rate=rate)
    unknown = unknown_words([word for sentence in held_out.words for word in sentence], known)
    if not unknown:
        logging.warning(
            "noise: none of the %d held-out utterances has a word without pronunciation; the margin"
            " stays %g",
            len(held_out.words),
            config.noise_margin,
        )
        return config
    errors = {}
    for margin in progress(margins, "noise margins"):
        found = held_out.decode(decoder, replace(config, noise_margin=margin))
        errors[margin], n_phones = phone_errors(held_out.words, found, known)
        rate = 100.0 * errors[margin].sum() / max(n_phones, 1)
        logging.info("noise margin %g: phone error rate %.2f %%", margin, rate)
    return replace(config, noise_margin=least_noise(errors))


def least_noise(errors: Mapping[float, np.ndarray]) -> float:
    """The largest margin that is not worse than the best one by two standard errors.

    Args:
        errors: of each margin the numbers of errors (N,) of the held-out utterances. Few of them
            have unknown words, so that the best margin by their sum alone is one by chance.
    """
    best = min(errors.values(), key=lambda each: each.sum())
    for margin in sorted(errors, reverse=True):
        # the sum of N paired differences has the standard error sqrt(N) * their deviation
        difference = errors[margin] - best
        if difference.sum() <= 2 * np.sqrt(len(best)) * difference.std():
            return margin
    raise ValueError("no margin was tried")


def error_rate(references: Sequence[Sequence[object]], found: Sequence[Sequence[object]]) -> float:
    """Error rate (%) of sentences of words or phones."""
    pairs = zip(references, found, strict=True)
    errors = sum(kaldialign.edit_distance(list(a), list(b))["total"] for a, b in pairs)
    return 100.0 * errors / max(sum(map(len, references)), 1)


def phone_errors(
    references: Sequence[Sequence[str]], found: Sequence[Sequence[str]], known: Pronunciations
) -> tuple[np.ndarray, int]:
    """Errors of phones without stress and position; words that are not known are noise.

    Phones, not words: a wrong word with half of its phones right is worth more than noise.

    Returns:
        (N,) numbers of errors of each utterance, and the number of phones of all references.
    """

    def phones(words: Sequence[str]) -> list[int]:
        return [int(BASE_OF_PHONE[p]) for word in words for p in variants(word, known)[0]]

    pairs = [(phones(a), phones(b)) for a, b in zip(references, found, strict=True)]
    errors = [kaldialign.edit_distance(a, b)["total"] for a, b in pairs]
    return np.array(errors), sum(len(a) for a, _ in pairs)
