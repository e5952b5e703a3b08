"""Phoneme units of speech: a trained recogniser from a waveform to 10 ms phone labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.conventions import WINDOW
from speechlm.recognizer.decoding import FirstPass, SearchConfig, WordDecoder, label_words
from speechlm.recognizer.features import mean_normalizer, mfcc, n_frames, normalize
from speechlm.recognizer.model import AlignmentModel
from speechlm.recognizer.network import Network, joint_scores
from speechlm.recognizer.speakers import Speaker
from speechlm.recognizer.utterance_graph import Pronunciations, read_pronunciations


@dataclass
class PhonemeSpeechTokenizer:
    """Waveforms of one speaker -> words and labels (ids of `vocabulary.PHONES`)."""

    model: AlignmentModel
    network: Network
    decoder: WordDecoder
    pronunciations: Pronunciations

    @staticmethod
    def load(gmm: Path, phone_model: Path, graph: Path, lexicon: Path) -> PhonemeSpeechTokenizer:
        """Read a trained recogniser (the folders of stage 4).

        Raises:
            ValueError: one of them is missing.
        """
        return PhonemeSpeechTokenizer(
            AlignmentModel.load(gmm),
            Network.load(phone_model),
            WordDecoder(graph, SearchConfig.load(Path(graph) / "search.json")),
            read_pronunciations(lexicon),
        )

    def adapt(self, waveforms: Sequence[np.ndarray]) -> Speaker:
        """Normalisation and transforms of the speaker of these (n_samples,) 16 kHz waveforms.

        Raises:
            ValueError: less than one frame of audio in all.
        """
        cepstra = [x for x in map(mfcc, waveforms) if len(x)]
        if not cepstra:
            raise ValueError(f"at least {WINDOW} samples of audio expected to adapt to a speaker")
        mean, deviation = mean_normalizer(np.concatenate(cepstra))
        first = FirstPass(self.model, self.network, self.decoder, self.pronunciations)
        transforms = self.model.estimate(
            [normalize(x, mean, deviation) for x in cepstra],
            lambda number, frames, scores, turn: first.states(frames),
        )
        return Speaker(mean, deviation, transforms)

    def unadapted(self, waveform: np.ndarray) -> Speaker:
        """Normalisation from one waveform, no transform: quicker, less accurate."""
        return Speaker(*mean_normalizer(mfcc(waveform)), self.model.unadapted())

    def __call__(self, waveform: np.ndarray, speaker: Speaker) -> tuple[np.ndarray, list[str]]:
        """(n_samples,) float in [-1, 1] -> ((n_samples - 400) // 160 + 1,) labels, and words.

        Raises:
            ValueError: less than one frame, or no alignment of the words found.
        """
        if n_frames(len(waveform)) == 0:
            raise ValueError(f"at least {WINDOW} samples expected, got {len(waveform)}")
        frames = speaker.frames(self.model, mfcc(waveform))
        class_scores, state_scores = self.network.scores(frames.network)
        words, _ = self.decoder.decode(class_scores)
        scores = joint_scores(self.model, frames, state_scores)
        return label_words(words, self.model, self.pronunciations, scores)[0], words
