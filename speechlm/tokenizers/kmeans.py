"""k-means clusters of features: training, file, and the units of new features.

N frames, D dimensions, K clusters. The file is an npz archive of plain arrays that holds the
centres, what the features are, and how they were trained; it is read without pickle.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.whole_files import read_arrays, reading
from speechlm.tokenizers.frame_sample import FrameSample
from speechlm.tokenizers.speech_features import FeatureConfig

_BLOCK = 8192  # frames whose distances are in memory at a time
_REPAIRS = 20


@dataclass
class KMeans:
    """A trained clustering."""

    centres: np.ndarray
    """(K, D) float32."""
    features: FeatureConfig
    training: dict[str, Any] = field(default_factory=dict)
    """Plain values: seed, portion, frames, utterances, mean squared distance."""

    def __post_init__(self) -> None:
        self._shift = self.centres.mean(0)  # keeps float32 accurate where the mean is large
        self._moved = self.centres - self._shift
        self._squares = np.square(self._moved, dtype=np.float64).sum(1).astype(np.float32)

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.centres)

    @property
    def identity(self) -> str:
        """What tells its clusters from those of any other clustering."""
        digest = hashlib.sha256(np.ascontiguousarray(self.centres).tobytes())
        return f"kmeans-{digest.hexdigest()[:16]}"

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(T, D) -> (T,) int32, the nearest centre of each frame.

        Raises:
            ValueError: another D.
        """
        if features.ndim != 2 or features.shape[1] != self.centres.shape[1]:
            raise ValueError(
                f"features (T, {self.centres.shape[1]}) expected, got shape {features.shape}"
            )
        return self.nearest(features)[0]

    def nearest(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) -> nearest centres (T,) int32, squared distances (T,) float32."""
        labels = np.zeros(len(features), np.int32)
        distances = np.zeros(len(features), np.float32)
        for start in range(0, len(features), _BLOCK):
            # |x - c|^2 = |x|^2 + (|c|^2 - 2 x . c), x and c both moved by the centres' mean; the
            # bracket (T, K) decides which centre is nearest
            x = features[start : start + _BLOCK].astype(np.float32, copy=False) - self._shift
            scores = self._squares - 2.0 * (x @ self._moved.T)
            best = scores.argmin(1)
            labels[start : start + _BLOCK] = best
            least = scores[np.arange(len(x)), best] + np.square(x).sum(1)
            distances[start : start + _BLOCK] = np.maximum(least, 0.0)
        return labels, distances

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the npz file."""
        with output_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                centres=self.centres,
                features=np.array(self.features.to_json()),
                training=np.array(json.dumps(self.training)),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KMeans:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing, damaged, or something else.
        """
        names = ("centres", "features", "training")
        file = read_arrays(path, names, "k-means model", "train_kmeans makes it")
        centres = file["centres"]
        with reading(path, "k-means model"):
            features = FeatureConfig.from_json(str(file["features"]), str(path))
            training = json.loads(str(file["training"]))
        right = centres.ndim == 2 and len(centres) and centres.shape[1] == features.dim
        if not right or centres.dtype != np.float32 or not np.isfinite(centres).all():
            raise ValueError(
                f"{path}: finite float32 centres (K, {features.dim}) expected, found "
                f"{centres.dtype} of shape {centres.shape}"
            )
        return cls(centres, features, training)


def train_kmeans(
    sample: FrameSample,
    n_clusters: int,
    seed: int = 0,
    n_init: int = 20,
    batch_size: int = 10_000,
    max_iter: int = 100,
    num_threads: int = 1,
) -> KMeans:
    """Cluster a sample of frames.

    Mini-batches with HuBERT's settings (Hsu et al. 2021: k-means++ on 3 batches, the best of
    `n_init` starts, batches of 10,000 frames, until 100 batches bring no improvement). Clusters
    that no frame of the sample belongs to are then put where frames are farthest from theirs.

    Args:
        sample: frames.
        n_clusters: K.
        seed: of all random choices; with the same number of threads the same centres follow.
        n_init: random starts.
        batch_size: frames of a batch.
        max_iter: passes over the sample at most.
        num_threads: CPU threads.

    Raises:
        ValueError: more clusters than frames, or than different frames.
    """
    frames = sample.frames()
    if n_clusters < 1:
        raise ValueError(f"n_clusters: at least 1 expected, got {n_clusters}")
    if len(frames) < n_clusters:
        raise ValueError(
            f"{n_clusters} clusters from {len(frames)} frames of {sample.n_utterances} utterances: "
            "at least as many frames as clusters are needed; use fewer clusters, more speech, a "
            f"larger portion, or more than max_frames ({sample.sampling.max_frames})"
        )
    from threadpoolctl import threadpool_limits

    with threadpool_limits(num_threads):
        centres = _minibatch(frames, n_clusters, seed, n_init, batch_size, max_iter)
        model, inertia, repaired = _fill_empty(KMeans(centres, sample.config), frames)
    sampling = sample.sampling
    model.training = {
        "seed": seed,
        "sample_seed": sampling.seed,
        "portion": sampling.portion,
        "max_frames": sampling.max_frames,
        "utterances": sample.n_utterances,
        "frames_seen": sample.n_seen,
        "frames": len(frames),
        "n_init": n_init,
        "mean_squared_distance": inertia,
        "refilled_clusters": repaired,
    }
    return model


def _minibatch(
    frames: np.ndarray, n_clusters: int, seed: int, n_init: int, batch_size: int, max_iter: int
) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    estimator = MiniBatchKMeans(
        n_clusters,
        init="k-means++",
        n_init=n_init,
        batch_size=batch_size,
        init_size=min(len(frames), max(3 * batch_size, 3 * n_clusters)),
        max_iter=max_iter,
        max_no_improvement=100,
        tol=0.0,
        reassignment_ratio=0.0,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal frames; checked below
        estimator.fit(frames)
    return estimator.cluster_centers_.astype(np.float32)


def _fill_empty(model: KMeans, frames: np.ndarray) -> tuple[KMeans, float, int]:
    """(model without empty clusters, mean squared distance, clusters that were refilled)."""
    refilled = 0
    for _ in range(_REPAIRS):
        labels, distances = model.nearest(frames)
        counts = np.bincount(labels, minlength=model.n_clusters)
        empty = np.flatnonzero(counts == 0)
        if not len(empty):
            return model, float(distances.mean(dtype=np.float64)), refilled
        logging.info("%d of %d clusters are empty: refilled", len(empty), model.n_clusters)
        refilled += len(empty)
        centres = model.centres.copy()
        # frames far from their centres become the centres of empty clusters
        centres[empty] = _farthest(frames, distances, len(empty))
        model = KMeans(centres, model.features)
    different = len(np.unique(frames, axis=0))
    raise ValueError(
        f"{len(empty)} of {model.n_clusters} clusters stay empty: the {len(frames)} frames have "
        f"{different} different values only, or some too close to each other; use fewer clusters, "
        "or more speech"
    )


def _farthest(frames: np.ndarray, distances: np.ndarray, n: int) -> np.ndarray:
    """Up to n different frames, those farthest from their centres first: (n, D), cycled if few."""
    # Equal frames would make equal centres: of the 50 n farthest, each different one once.
    order = np.argsort(-distances, kind="stable")[: 50 * n]
    _, first = np.unique(frames[order], axis=0, return_index=True)
    chosen = order[np.sort(first)]
    return frames[np.resize(chosen, n)]
