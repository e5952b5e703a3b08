"""The files of the released SpeechLM recipe: `.tsv` manifests, `.phn/.km` labels, `.ltr`, `dict`.

A manifest is the audio folder in the first line and `path<tab>n_samples` below; the label and
letter files have one line an utterance in the same order. Label lines hold the numbers of the
units. Source: the data samples of microsoft/SpeechT5, folder SpeechLM/dataset.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechlm.conventions import SAMPLE_RATE
from speechlm.data.archives import (
    ArchiveReader,
    ArchiveWriter,
    check_frame_shift,
    fit_to_audio,
    merge_archives,
    n_labels,
    read_unit_info,
    write_unit_info,
)
from speechlm.data.atomic import output_file, remove_leftovers, write_text
from speechlm.data.audio import write_flac
from speechlm.data.encoding import text_lines
from speechlm.data.kaldi_dir import DataDir, show_ids
from speechlm.data.names import path_problem, safe_id, speaker_of
from speechlm.data.report import Report
from speechlm.progress import progress


@dataclass(frozen=True)
class Manifest:
    """A `.tsv` file: audio folder, relative paths, lengths in samples."""

    root: str
    paths: list[str]
    n_samples: list[int]

    @property
    def ids(self) -> list[str]:
        """Utterance ids: the file names without folder and suffix (`names.safe_id`)."""
        return [safe_id(stem(path)) for path in self.paths]


def stem(path: str) -> str:
    """A file's name without folder and suffix."""
    return os.path.splitext(os.path.basename(path))[0]


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a `.tsv`.

    Raises:
        ValueError: a line is wrong, or ids occur twice; the message names them.
    """
    root, *lines = _read_lines(path) or [""]
    paths, lengths = [], []
    for number, line in enumerate(lines, 2):
        name, tab, n = line.rpartition("\t")
        if not tab or not stem(name) or not (n.isascii() and n.isdigit()):
            raise ValueError(f"{path}:{number}: `path<tab>samples` expected, got {line!r}")
        paths.append(name)
        lengths.append(int(n))
    manifest = Manifest(root, paths, lengths)
    if not root or not paths:
        raise ValueError(f"{path}: an audio folder and at least one file expected")
    double = sorted(u for u, n in Counter(manifest.ids).items() if n > 1)
    if double:
        raise ValueError(f"{path}: file names that occur twice: {show_ids(double)}")
    return manifest


def read_dictionary(path: str | os.PathLike[str]) -> list[str]:
    """Symbols of a fairseq dictionary (`symbol count` lines) in order.

    Raises:
        ValueError: a line is wrong, or there is none.
    """
    symbols = []
    for number, line in enumerate(_read_lines(path), 1):
        symbol, space, count = line.rpartition(" ")
        if not space or not count.isdigit():
            raise ValueError(f"{path}:{number}: `symbol count` expected, got {line!r}")
        symbols.append(symbol)
    if not symbols:
        raise ValueError(f"{path}: `symbol count` lines expected, but the file is empty")
    return symbols


def import_audio(manifest: Manifest, letters: str | os.PathLike[str] | None = None) -> DataDir:
    """A data directory of a manifest, with transcripts of a `.ltr` file if one is given.

    The speaker is what stands before the first hyphen of the id, as in LibriSpeech.

    Raises:
        ValueError: letters that do not fit, or paths that cannot stand in wav.scp.
    """
    ids = manifest.ids
    wav = {u: os.path.join(manifest.root, p) for u, p in zip(ids, manifest.paths, strict=True)}
    odd = [f"{p!r}: {problem}" for p in wav.values() if (problem := path_problem(p))]
    if odd:
        raise ValueError(f"{len(odd)} paths cannot stand in wav.scp: {'; '.join(odd[:5])}")
    text = None
    if letters is not None:
        lines = _aligned_lines(letters, ids)
        text = {u: letters_to_words(line, letters) for u, line in zip(ids, lines, strict=True)}
    n_samples = dict(zip(ids, manifest.n_samples, strict=True))
    return DataDir(wav, {u: speaker_of(u) for u in ids}, text, n_samples)


def changed_names(manifest: Manifest) -> Report:
    """A report of the file names that are no ids, with the ids that they have got."""
    report = Report()
    for utterance, path in zip(manifest.ids, manifest.paths, strict=True):
        if utterance != stem(path):
            report.fix("name that is no id", utterance, path, f"the name is {stem(path)!r}")
    return report


def import_labels(
    manifest: Manifest,
    labels: str | os.PathLike[str],
    tokens: Sequence[str],
    folder: str | os.PathLike[str],
    frame_shift: float = 0.01,
) -> int:
    """Write the label lines as unit archives into `folder`; returns the number of utterances.

    The n-th symbol of the dictionary is label n. Numbers in a line are labels, unless the
    dictionary's own symbols are numbers: then they are its symbols. A count that is off by one is
    mended (`fit_to_audio`).

    Raises:
        ValueError: a line is no list of known units, its count does not fit the audio, or the
            frame shift is none.
    """
    check_frame_shift(frame_shift, "frame_shift")
    ids, by_symbol = manifest.ids, _by_symbol(tokens)
    lines = _aligned_lines(labels, ids)
    with ArchiveWriter(folder) as writer:
        rows = progress(zip(ids, lines, manifest.n_samples, strict=True), "utterances", len(ids))
        for utterance, line, n in rows:
            try:
                values = np.array(line.split(), dtype=np.int64)
            except ValueError:
                raise ValueError(f"{labels}: numbers expected for {utterance}") from None
            expected = n_labels(n, frame_shift)
            where = f"{labels}: {utterance}, {n} samples at {frame_shift:g} s a label"
            values = fit_to_audio(values, expected, where)
            if by_symbol is not None:
                values = _look_up(values, by_symbol, f"{labels}: {utterance}")
            if len(values) and (values.min() < 0 or values.max() >= len(tokens)):
                raise ValueError(
                    f"{labels}: labels 0..{len(tokens) - 1} expected for {utterance},"
                    f" found {values.min()}..{values.max()}"
                )
            writer.write(utterance, values)
    write_unit_info(folder, frame_shift, tokens)
    return merge_archives(folder, 1)


def cut_segments(data: DataDir, folder: str | os.PathLike[str]) -> DataDir:
    """Make files of the utterances that are parts of recordings: a manifest knows whole files only.

    Args:
        data: a data directory with utt2num_samples.
        folder: gets ID.flac of each of them, 16 kHz.

    Returns:
        The same utterances, all of them files.

    Raises:
        ValueError: audio cannot be read, or is not as long as utt2num_samples says.
    """
    wav, target = dict(data.wav), Path(folder)
    for utterance in sorted(data.segments):
        waveform = data.waveform(utterance)
        wav[utterance] = str(target / f"{utterance}.flac")
        with output_file(wav[utterance], tidy=False) as temporary:
            write_flac(temporary, waveform, SAMPLE_RATE)
    if target.is_dir():
        remove_leftovers(target)
    return DataDir(wav, data.utt2spk, data.text, data.n_samples, data.translations)


def export_audio(
    data: DataDir, path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> None:
    """Write a `.tsv`. `root` is by default the deepest folder that all audio files share.

    Raises:
        ValueError: utterances are parts of recordings (`cut_segments` makes files of them), audio
            is outside of `root`, or there is no utt2num_samples.
    """
    if data.segments:
        raise ValueError(
            f"whole files expected, but {len(data.segments)} utterances are parts of recordings"
            f" (segments): {show_ids(sorted(data.segments))}; cut them into files"
        )
    samples = data.samples()
    wav = {u: os.path.abspath(p) for u, p in data.wav.items()}
    folders = [os.path.dirname(p) for p in wav.values()]
    top = os.path.abspath(root) if root else os.path.commonpath(folders)
    outside = sorted(u for u, p in wav.items() if not p.startswith(top.rstrip("/") + "/"))
    if outside:
        raise ValueError(f"audio is not inside of {top}: {show_ids(outside)}")
    rows = [f"{os.path.relpath(wav[u], top)}\t{samples[u]}" for u in data.ids]
    _write_lines(path, [top, *rows])


def export_labels(
    data: DataDir, folder: str | os.PathLike[str], path: str | os.PathLike[str]
) -> tuple[str, ...]:
    """Write the label lines of a unit folder in the order of the ids; returns its tokens.

    Lines hold labels, so that `export_dictionary` belongs to them.

    Raises:
        ValueError: utterances without labels, or with a count that does not fit the audio.
    """
    frame_shift, vocabulary = read_unit_info(folder)
    units = ArchiveReader(Path(folder) / "units.scp")
    missing = [u for u in data.ids if u not in units]
    if missing:
        raise ValueError(f"{folder}: no units of {len(missing)} utterances: {show_ids(missing)}")
    samples = data.samples()
    with output_file(path) as temporary, temporary.open("w", encoding="ascii") as file:
        for utterance in progress(data.ids, "utterances"):
            labels = units[utterance]
            expected = n_labels(samples[utterance], frame_shift)
            if len(labels) != expected:
                raise ValueError(
                    f"{folder}: {expected} labels expected of {utterance}, found {len(labels)}"
                )
            file.write(" ".join(map(str, labels.tolist())) + "\n")
    return vocabulary.symbols


def export_letters(data: DataDir, path: str | os.PathLike[str]) -> None:
    """Write transcripts as a `.ltr` file: `H E | R A N |`."""
    if data.text is None:
        raise ValueError("transcripts expected to export letters, but there is no text")
    _write_lines(path, [words_to_letters(data.text[u]) for u in data.ids])


def export_dictionary(path: str | os.PathLike[str], n_units: int) -> None:
    """Write the label dictionary of the release: the numbers 0 ... n-1 with themselves as count."""
    _write_lines(path, [f"{n} {n}" for n in range(n_units)])


def words_to_letters(words: str) -> str:
    """`HE RAN` -> `H E | R A N |`."""
    return " ".join(c for word in words.split() for c in (*word, "|"))


def letters_to_words(line: str, source: str | os.PathLike[str] = "letters") -> str:
    """`H E | R A N |` -> `HE RAN`."""
    symbols = line.split()
    if not symbols or symbols[-1] != "|" or any(len(s) != 1 for s in symbols):
        raise ValueError(
            f"{source}: single letters and a | after each word expected: {line[:60]!r}"
        )
    return "".join(symbols).replace("|", " ").strip()


def _by_symbol(tokens: Sequence[str]) -> dict[int, int] | None:
    """Labels of symbols that are all numbers, such as 17 -> 0; None if they are names, or 0 1 2."""
    if not all(token.isascii() and token.isdigit() for token in tokens):
        return None
    table = {int(token): label for label, token in enumerate(tokens)}
    return None if all(symbol == label for symbol, label in table.items()) else table


def _look_up(values: np.ndarray, table: dict[int, int], where: str) -> np.ndarray:
    unknown = sorted(set(values.tolist()) - table.keys())
    if unknown:
        raise ValueError(f"{where}: units that the dictionary lacks: {unknown[:10]}")
    return np.array([table[value] for value in values.tolist()], dtype=np.int64)


def _aligned_lines(path: str | os.PathLike[str], ids: Sequence[str]) -> list[str]:
    lines = _read_lines(path)
    if len(lines) != len(ids):
        raise ValueError(f"{path}: {len(ids)} lines expected, as in the .tsv, found {len(lines)}")
    return lines


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    return [line for _, line in text_lines(path)]


def _write_lines(path: str | os.PathLike[str], lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
