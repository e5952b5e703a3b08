"""The acoustic scale, chosen by word errors on held-out training utterances."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import kaldialign

from speechlm.data.archives import ArchiveReader
from speechlm.data.kaldi_dir import DataDir
from speechlm.recognizer.decoding import SearchConfig, WordDecoder
from speechlm.recognizer.network import Network


def tune_scale(
    data: DataDir,
    net_data: Path,
    network: Network,
    graph: Path,
    scales: Sequence[float],
    *,
    beam: float,
    max_active: int,
    max_utterances: int = 60,
) -> SearchConfig:
    """Decode the validation list with every scale and keep the one with fewest word errors.

    Raises:
        ValueError: no transcripts, or no validation utterances.
    """
    if data.text is None:
        raise ValueError("transcripts expected, but the data directory has no text")
    feats = ArchiveReader(net_data / "valid" / "feats.scp")
    chosen = [u for u in feats if u in data.text][:max_utterances]
    if not chosen:
        raise ValueError(f"{net_data}/valid has no utterance of the data directory")
    scores = {u: network.class_scores(feats[u]) for u in chosen}
    decoder = WordDecoder(graph, SearchConfig())
    results = {}
    for scale in scales:
        decoder.config = SearchConfig(scale, beam, max_active)
        errors = words = 0
        for utterance in chosen:
            reference = data.text[utterance].split()
            found, _ = decoder.decode(scores[utterance])
            errors += kaldialign.edit_distance(reference, found)["total"]
            words += len(reference)
        results[scale] = 100.0 * errors / max(words, 1)
        logging.info("acoustic scale %g: word error rate %.2f %%", scale, results[scale])
    best = SearchConfig(min(results, key=lambda s: (results[s], s)), beam, max_active)
    best.save(graph / "search.json")
    return best
