"""Phone scores of a pre-trained SpeechLM-P, in place of those of the recogniser's network.

A SpeechLM that was pre-trained with phone units predicts them at two depths. On speech that is not
masked its predictions, divided by the phones' priors, are to the recogniser's search graph what the
network's scores are: a recogniser without any fine-tuning, whose labels are units of a second
iteration.

S samples, F frames of the SpeechLM (20 or 40 ms), T labels (10 ms), U = ceil(T / 3) steps of the
graph (30 ms), K phones with stress and word position, C context classes, P states of the HMM.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from speechlm.checkpoints.model_dir import load_speechlm, read_description
from speechlm.data.archives import TOKENS, ArchiveReader, n_labels
from speechlm.data.atomic import output_file, write_text
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import PHONES, UnitVocabulary
from speechlm.data.whole_files import read_arrays, read_json, reading
from speechlm.models import SpeechLM
from speechlm.models.inputs import check_speech
from speechlm.recognizer.contexts import N_BASE, N_PHONES, left_bases
from speechlm.recognizer.decoding import Scores
from speechlm.recognizer.model import Frames
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import SUBSAMPLING
from speechlm.recognizer.topology import BASE_OF_PHONE, N_PDFS, N_STATES

DEPTHS = {"middle": (0,), "top": (1,), "both": (0, 1)}
"""Predictions that are taken, by number: of both the mean of the logarithms."""
SPOKEN = np.flatnonzero(BASE_OF_PHONE >= 0)
"""(K,) labels that are phones; the others of the 364 are `<eps>` and disambiguation symbols."""
LABEL_RATE = 100
COUNTS, INFO = "phone_counts.npz", "info.json"
_UNSEEN = 0.01
_MADE_BY = "tune_phone_scores makes it"


@dataclasses.dataclass
class PhoneCounts:
    """Frames (10 ms) of the phones in the labels of a pre-training."""

    frames: np.ndarray
    """(41, 364), by the base phone to the left; probabilities count 0.01 more."""

    @staticmethod
    def of_labels(labels: Iterable[np.ndarray]) -> PhoneCounts:
        """Counts of utterances of (T,) labels."""
        keys = np.zeros(N_BASE * N_PHONES, np.int64)
        for each in labels:
            keys += np.bincount(left_bases(each) * N_PHONES + each, minlength=len(keys))
        return PhoneCounts(keys.reshape(N_BASE, N_PHONES))

    @staticmethod
    def of_units(folder: Path, most: int) -> PhoneCounts:
        """Counts of at most `most` utterances of a folder of units, spread over all of them.

        Raises:
            ValueError: the units are no phones, or there are none.
        """
        check_phones(UnitVocabulary.read(folder / TOKENS))
        units = ArchiveReader(folder / "units.scp")
        if not len(units):
            raise ValueError(f"{folder}: units of at least one utterance expected")
        return PhoneCounts.of_labels(units[utterance] for utterance in spread(list(units), most))

    @property
    def _counts(self) -> np.ndarray:
        """(41, K)"""
        return self.frames[:, SPOKEN] + _UNSEEN

    def log_prior(self) -> np.ndarray:
        """(K,) log probabilities of the phones."""
        counts = self._counts.sum(axis=0)
        return np.log(counts / counts.sum())

    def of_classes(self, table: np.ndarray) -> np.ndarray:
        """(C, K) probabilities of the phones in each class of a `ClassTable.table`."""
        # a class has the frames of those (left base, phone) that the decision tree has put there
        classes = table[:, SPOKEN]
        _, phone = np.indices(classes.shape)
        shares = np.zeros((int(classes.max()) + 1, len(SPOKEN)))
        np.add.at(shares, (classes, phone), self._counts)
        return shares / shares.sum(axis=1, keepdims=True)

    def of_states(self, classes: np.ndarray) -> np.ndarray:
        """(P / 3, K) probabilities of the phones in each class of `Hmm.classes`, or all 0."""
        shares = np.zeros((N_PDFS // N_STATES, len(SPOKEN)))
        shares[classes[SPOKEN], np.arange(len(SPOKEN))] = self._counts.sum(axis=0)
        return shares / np.maximum(shares.sum(axis=1, keepdims=True), _UNSEEN)

    def save(self, path: Path) -> None:
        """Write an npz file."""
        with output_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, frames=self.frames)

    @staticmethod
    def load(path: Path) -> PhoneCounts:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing or damaged.
        """
        frames = read_arrays(path, ("frames",), "counts of phones", _MADE_BY)["frames"]
        with reading(path, "counts of phones", _MADE_BY):
            if frames.shape != (N_BASE, N_PHONES):
                raise ValueError(f"({N_BASE}, {N_PHONES}) counts expected, got {frames.shape}")
        return PhoneCounts(frames)


def spread(ids: list[str], most: int) -> list[str]:
    """At most `most` of the ids, at equal distances."""
    return ids[:: -(-len(ids) // most)] if ids else ids


def check_phones(units: UnitVocabulary | None) -> UnitVocabulary:
    """The vocabulary, if it has all phones.

    Raises:
        ValueError: it has not, or there is none.
    """
    symbols = set() if units is None else set(units.symbols)
    missing = [PHONES[label] for label in SPOKEN if PHONES[label] not in symbols]
    if units is None or missing:
        where = "a model without units" if units is None else units.source
        raise ValueError(
            f"{where}: the {len(SPOKEN)} phones with stress and word position (such as AH0_I) are "
            f"expected as units; {len(missing)} of them are missing, such as "
            f"{' '.join(missing[:3])}. Only a SpeechLM with phoneme units predicts phones"
        )
    return units


@dataclasses.dataclass
class PhonePredictor:
    """A SpeechLM and its units: waveforms to log probabilities of phones."""

    model: SpeechLM
    units: UnitVocabulary
    depth: str = "both"
    """One of `DEPTHS`."""

    def __post_init__(self) -> None:
        self.model.eval()
        names = [PHONES[label] for label in SPOKEN]
        self._ids = self.units.to_model_ids(check_phones(self.units).labels(names)).tolist()

    @staticmethod
    def load(folder: Path, depth: str, device: str = "cpu") -> PhonePredictor:
        """Open a model folder.

        Raises:
            ValueError: it holds no pre-trained SpeechLM, or one of other units.
        """
        kind = read_description(folder).kind
        if kind != "pretrained":
            raise ValueError(
                f"{folder}: a pre-trained SpeechLM expected, whose layers still predict units; "
                f"this one is of kind {kind}"
            )
        model, units = load_speechlm(folder)
        return PhonePredictor(model.to(device), check_phones(units), depth)

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(S,) samples -> (F, K).

        Raises:
            ValueError: fewer samples than one frame has.
        """
        model, device = self.model, self.model.mask_emb.device
        wave = torch.from_numpy(waveform)[None].to(device)
        encoded = model.encode(check_speech(wave, None, model.framing, model.mask_emb)[0])
        depths, found = (encoded.middle, encoded.features), []
        for number in DEPTHS[self.depth]:
            logits = model.unit_logits(depths[number][0], number)
            found.append(logits[:, self._ids].log_softmax(-1).double().cpu().numpy())
        return np.mean(found, axis=0)

    def nearest(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the frames, from below 0 perhaps, that say most of labels 0, 1, 2, ..."""
        # A frame has learned one of its `ratio` labels: SpeechLM-Fast the middle one, number
        # ratio // 2, the paper's any of them by chance, in the mean number (ratio - 1) / 2. With
        # 40 ms frames, whose ratio is 4:
        #
        #   labels   0 1 2 3 4 5 6 7 8 9
        #   learned      0       1
        #   nearest  0 0 0 0 1 1 1 1 2 2        floor((label - 2) / 4 + 1/2)
        ratio = self.model.framing.labels_per_frame(LABEL_RATE)
        learned = ratio // 2 if self.model.config.is_fast else (ratio - 1) / 2
        return np.floor((labels - learned) / ratio + 0.5).astype(np.int64)


class PhoneScores:
    """Scores of the recogniser's context classes and HMM states from predicted phones.

    A frame x has, by Bayes' rule and up to a term of x alone that no search sees, the likelihood

        p(x | class) = sum_k P(phone k | class) P(k | x) / P(k)

    with P(k | class) and the priors P(k) from the labels that the SpeechLM was pre-trained with.
    The recogniser's network has other errors: `share` times its scores may be added.
    """

    def __init__(
        self,
        predictor: PhonePredictor,
        counts: PhoneCounts,
        table: np.ndarray,
        hmm_classes: np.ndarray,
        share: float = 0.0,
    ) -> None:
        """Takes the network's `ClassTable.table` and `Hmm.classes`."""
        self.predictor, self._log_prior, self.share = predictor, counts.log_prior(), share
        self._classes, self._states = counts.of_classes(table), counts.of_states(hmm_classes)

    def __call__(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) samples -> scores of classes (U, C) and of states (T, P), float32.

        Raises:
            ValueError: fewer samples than one frame has.
        """
        over_prior = self.predictor(waveform) - self._log_prior
        labels = np.arange(n_labels(len(waveform)))
        frames = np.clip(self.predictor.nearest(labels), 0, len(over_prior) - 1)
        # the label in the middle of each step, as `count_stay` has it; the last step may lack it
        middles = np.arange(0, len(labels), SUBSAMPLING) + SUBSAMPLING // 2
        classes = _mixed(over_prior, self._classes)[frames[np.minimum(middles, len(labels) - 1)]]
        # the three states of a phone sound alike to the SpeechLM
        states = np.repeat(_mixed(over_prior, self._states)[frames], N_STATES, axis=1)
        return classes.astype(np.float32), states.astype(np.float32)

    def of(self, data: DataDir, network: Network) -> Scores:
        """What decodes a data directory, with `share` of the network's scores."""

        def score(utterance: str, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
            classes, states = self(data.waveform(utterance))
            if self.share > 0:
                beside = network.scores(frames.network)
                classes = classes + self.share * beside[0]
                states = states + self.share * beside[1]
            return classes, states

        return score

    @staticmethod
    def load(
        speechlm: Path, folder: Path, table: np.ndarray, hmm_classes: np.ndarray, device: str
    ) -> PhoneScores:
        """Those of a SpeechLM, as `tune_phone_scores` has left them in `folder`.

        Raises:
            ValueError: a file is missing or damaged, or the SpeechLM has other units.
        """
        info = read_json(folder / INFO, "choices of phone scores", _MADE_BY)
        with reading(folder / INFO, "choices of phone scores", _MADE_BY):
            depth, share = info["depth"], float(info["network_share"])
            if depth not in DEPTHS or not 0 <= share < np.inf:
                raise ValueError(
                    f"depth: one of {' '.join(DEPTHS)}, and network_share: 0 or more expected, got "
                    f"{depth!r} and {share:g}"
                )
        predictor, counts = PhonePredictor.load(speechlm, depth, device), folder / COUNTS
        return PhoneScores(predictor, PhoneCounts.load(counts), table, hmm_classes, share)

    def save(self, folder: Path, counts: PhoneCounts) -> None:
        """Write what `load` reads; the counts are those it was made with."""
        counts.save(folder / COUNTS)
        info = {"depth": self.predictor.depth, "network_share": self.share}
        write_text(folder / INFO, json.dumps(info) + "\n")


def _mixed(over_prior: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """log sum_k shares[c, k] exp(over_prior[f, k]): (F, K), (C, K) -> (F, C)."""
    best = over_prior.max(axis=1, keepdims=True)
    return np.log(np.exp(over_prior - best) @ shares.T + 1e-30) + best
