"""Hidden units of speech: features, then the nearest k-means centre of each frame."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.data.archives import (
    ArchiveWriter,
    fit_to_audio,
    n_labels,
    write_job_origin,
    write_unit_info,
)
from speechlm.data.kaldi_dir import DataDir
from speechlm.tokenizers.feature_stream import FeatureArchive, Features, report_skipped, stream
from speechlm.tokenizers.kmeans import KMeans
from speechlm.tokenizers.speech_features import FeatureSource, reopen_features


@dataclass
class HiddenSpeechTokenizer:
    """Waveforms -> units 0 .. K-1, with the features that the clusters were trained on."""

    source: Features
    kmeans: KMeans

    @classmethod
    def load(
        cls,
        kmeans: str | os.PathLike[str],
        model: str | None = None,
        feats: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> HiddenSpeechTokenizer:
        """Open a k-means model and the features that it says it belongs to.

        Args:
            kmeans: file of `train_kmeans`.
            model: where the features' model is now, if it has moved.
            feats: folder of archives to read features from, instead of computing them.
            device: torch device of the features' model.

        Raises:
            ValueError: files are missing, or the features are others.
        """
        clusters = KMeans.load(kmeans)
        if feats is None:
            source: Features = reopen_features(clusters.features, str(kmeans), model, device)
        else:
            source = FeatureArchive(feats)
            clusters.features.check_same(source.config, str(kmeans), str(feats))
        return cls(source, clusters)

    @property
    def frame_shift(self) -> float:
        """Seconds from a unit to the next."""
        if isinstance(self.source, FeatureArchive):
            return self.source.frame_shift
        return self.source.framing.seconds

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(n_samples,) float in [-1, 1], 16 kHz -> (T,) int32, a unit for each frame.

        Raises:
            ValueError: less than one frame, or if features are read from archives.
        """
        if not isinstance(self.source, FeatureSource):
            raise ValueError("a waveform's units need features that are computed, not archives")
        return self.kmeans(self.source(waveform))


@dataclass
class Labelled:
    """What a job did."""

    utterances: int = 0
    units: int = 0
    seconds: float = 0.0
    skipped: int = 0


def label_data(
    data: DataDir, tokenizer: HiddenSpeechTokenizer, output: str | os.PathLike[str], job: int = 1
) -> Labelled:
    """Write `units.JOB.{ark,scp}`, `frame_shift`, `tokens.txt`, `origin.JOB` and `skipped.JOB`.

    Raises:
        ValueError: archives of features that do not fit the audio.
    """
    skipped: dict[str, str] = {}
    done, start = Labelled(), time.perf_counter()
    shift = tokenizer.frame_shift
    with ArchiveWriter(output, "units", job) as writer:
        for utterance, features in stream(data, tokenizer.source, skipped):
            # Labels are counted as (n_samples - 400) // shift + 1 whatever made them. A front end
            # with another window gives a frame more or fewer: a fast one, of 880 samples every 640,
            # lacks the last one of three in four utterances, which repeats its neighbour.
            expected = n_labels(data.samples()[utterance], shift)
            units = fit_to_audio(tokenizer.kmeans(features), expected, utterance, "units")
            writer.write(utterance, units)
            done.utterances += 1
            done.units += len(units)
    done.seconds, done.skipped = time.perf_counter() - start, len(skipped)
    write_unit_info(output, shift, [str(n) for n in range(tokenizer.kmeans.n_clusters)])
    write_job_origin(output, job, tokenizer.kmeans.identity)
    report_skipped(output, job, skipped)
    logging.info(
        "%s, job %d: %d units of %d utterances, %d left out; %.0f units a second",
        Path(output),
        job,
        done.units,
        done.utterances,
        done.skipped,
        done.units / max(done.seconds, 1e-9),
    )
    return done
