"""Every reader of files on files that are missing, empty, cut, zeros or something else: one line.

A row of the table is a kind of file: how one is made, and what reads it. Of binary files every cut
is found. A text that is cut may still be one: then it is read, or refused in one line as well.
"""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kaldifst
import numpy as np
import pytest
import torch
import yaml

from speechlm.bin._cli import run
from speechlm.checkpoints.huggingface import load_huggingface
from speechlm.checkpoints.model_dir import load_speechlm, read_symbols
from speechlm.checkpoints.torch_file import TorchFile
from speechlm.checkpoints.torchaudio_cpu import import_torchaudio
from speechlm.checkpoints.trainer_files import last_epoch, load_weights_only
from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives
from speechlm.data.columns import open_columns
from speechlm.data.encoding import refuse_wide
from speechlm.data.lexicon import Lexicon
from speechlm.data.target_text import TargetVocabulary, VocabularyOptions, train_vocabulary
from speechlm.data.text_corpus import TextCorpus
from speechlm.data.unit_store import UnitStore
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.data.whole_files import DamagedFile, damage, read_arrays
from speechlm.data.yaml_file import read_yaml
from speechlm.lm.arpa import read_arpa
from speechlm.lm.ngram import perplexity
from speechlm.lm.ngram import train as train_ngram
from speechlm.recognizer.contexts import N_BASE
from speechlm.recognizer.decoding import SearchConfig, WordDecoder
from speechlm.recognizer.gmm import Gmm
from speechlm.recognizer.model import AlignmentModel, Space, Transforms
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel
from speechlm.recognizer.search_graph import make_graph
from speechlm.recognizer.speakers import Speaker, load_speakers, save_speakers
from speechlm.recognizer.topology import BASE_OF_PHONE, N_PDFS
from speechlm.recognizer.transforms import FmllrStatistics, identity
from speechlm.recognizer.utterance_graph import Hmm
from speechlm.score.sentences import read_figures, write_figures
from speechlm.tokenizers.durations import DurationTable
from speechlm.tokenizers.frame_sample import FrameSample, Sampling, merge_samples
from speechlm.tokenizers.kmeans import KMeans
from speechlm.tokenizers.speech_features import FeatureConfig


@dataclasses.dataclass
class Reader:
    """A row: `make(folder)` makes files, `read(folder)` reads those named `files`."""

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    files: tuple[str, ...]
    text: bool = False


def weights(folder: Path, older: bool = False) -> None:
    state = {"model": {"a": torch.arange(300.0)}, "reporter": {"epoch": 3}}
    torch.save(state, folder / "checkpoint.pth", _use_new_zipfile_serialization=not older)


def read_torch_file(folder: Path) -> None:
    with TorchFile(folder / "checkpoint.pth") as file:
        file.read(file.content["model"]["a"])


def gaussians(dim: int) -> Gmm:
    shape = (1, N_PDFS, dim)
    return Gmm(np.zeros(shape), np.ones(shape), np.zeros(shape[:2]))


def classes() -> ClassTable:
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)[None].repeat(N_BASE, axis=0)
    half = np.full((N_BASE, 2), np.log(0.5))
    return ClassTable(table, half, np.zeros(N_BASE), np.zeros(N_PDFS))


def alignment_model(folder: Path) -> None:
    spaces = [Space(np.eye(3), gaussians(3), FmllrStatistics.zero(3)) for _ in range(2)]
    hmm = Hmm(BASE_OF_PHONE, np.full(N_PDFS, -0.7), np.full(N_PDFS, -0.7))
    AlignmentModel(*spaces, gaussians(3), hmm, 500.0).save(folder / "made")
    for path in list((folder / "made").iterdir()):
        path.rename(folder / path.name)


def network(folder: Path) -> None:
    config = PhoneAcousticConfig(N_BASE, N_PDFS, width=4, bottleneck=2, dilations=(1,))
    Network(PhoneAcousticModel(config), classes()).save(folder / "made")
    for path in list((folder / "made").iterdir()):
        path.rename(folder / path.name)


def speakers(folder: Path) -> None:
    speaker = Speaker(np.zeros(20), np.ones(20), Transforms(identity(39), identity(40)))
    save_speakers(folder / "speakers.1.npz", {"s": speaker})


def graph(folder: Path) -> None:
    fst = kaldifst.compile("0 1 1 1 0.5\n1 0\n", acceptor=False)
    kaldifst.StdConstFst(fst).write(str(folder / "graph.fst"))
    (folder / "words.txt").write_text("<eps> 0\nA 1\n")
    (folder / "info.json").write_text('{"words": 1, "log10_unknown": null}\n')


def sample(folder: Path) -> None:
    made = FrameSample(FeatureConfig("mfcc", 39), Sampling(0, 1.0, 100))
    made.add("u", np.ones((20, 39), np.float32))
    made.save(folder / "sample.1.npz")


def store(folder: Path) -> None:
    (folder / "text").write_text("A\nB\n")
    UnitStore.create(folder, TextCorpus(folder / "text"), UnitVocabulary("ab"), 0.02, 2, {})


def archive(folder: Path) -> None:
    with ArchiveWriter(folder, "units") as writer:
        writer.write("u", np.arange(100))
    merge_archives(folder, 1)


def target_vocabulary(folder: Path) -> None:
    made = train_vocabulary(["ein Haus", "der Baum"], VocabularyOptions(), "text")
    made.write(folder / "made", {})
    for path in list((folder / "made").iterdir()):
        path.rename(folder / path.name)


def arpa(folder: Path) -> None:
    (folder / "text.txt").write_text("A B A\nB A\n" * 9)
    train_ngram([folder / "text.txt"], folder / "lm.arpa", 2, estimator="built_in")


def durations(folder: Path) -> None:
    histograms = {"AH0_S": np.array([0, 3, 9])}
    DurationTable(0.01, 0.2, histograms).write(folder / "durations.txt")


def huggingface(folder: Path) -> None:
    import_torchaudio()
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    HubertModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))


def pickled_huggingface(folder: Path) -> None:
    huggingface(folder)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def note(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


NPZ = ("gaussian.npz", "gaussian_gmm.npz", "network.npz", "network_gmm.npz", "gmm.npz", "model.npz")
READERS = {
    "training state": Reader(weights, last_epoch, ("checkpoint.pth",)),
    "older weights": Reader(
        lambda folder: weights(folder, older=True),
        lambda folder: load_weights_only(folder / "checkpoint.pth"),
        ("checkpoint.pth",),
    ),
    "authors": Reader(weights, read_torch_file, ("checkpoint.pth",)),
    "older authors": Reader(
        lambda folder: weights(folder, older=True), read_torch_file, ("checkpoint.pth",)
    ),
    "yaml": Reader(
        note("config.yaml", yaml.safe_dump({"a": {"b": 1}, "c": "word"})),
        lambda folder: read_yaml(folder / "config.yaml"),
        ("config.yaml",),
        text=True,
    ),
    "gaussians": Reader(alignment_model, AlignmentModel.load, NPZ),
    "network": Reader(network, Network.load, ("network.safetensors", "classes.npz")),
    "network's sizes": Reader(network, Network.load, ("network.json",), text=True),
    "speakers": Reader(speakers, load_speakers, ("speakers.1.npz",)),
    "graph": Reader(graph, lambda folder: WordDecoder(folder, SearchConfig()), ("graph.fst",)),
    "graph's words": Reader(
        graph, lambda folder: WordDecoder(folder, SearchConfig()), ("words.txt",), text=True
    ),
    "graph's word of noise": Reader(
        graph, lambda folder: WordDecoder(folder, SearchConfig()), ("info.json",), text=True
    ),
    "search": Reader(
        lambda folder: SearchConfig().save(folder / "search.json"),
        lambda folder: SearchConfig.load(folder / "search.json"),
        ("search.json",),
        text=True,
    ),
    "k-means": Reader(
        lambda folder: KMeans(np.ones((2, 39), np.float32), FeatureConfig("mfcc", 39)).save(
            folder / "kmeans.npz"
        ),
        lambda folder: KMeans.load(folder / "kmeans.npz"),
        ("kmeans.npz",),
    ),
    "sample": Reader(
        sample, lambda folder: merge_samples([folder / "sample.1.npz"]), ("sample.1.npz",)
    ),
    "store": Reader(store, UnitStore, ("store.json", "tokens.txt"), text=True),
    "archive": Reader(
        archive, lambda folder: ArchiveReader(folder / "units.scp")["u"], ("units.1.ark",)
    ),
    "sentencepiece": Reader(target_vocabulary, TargetVocabulary.read, ("spm.model",)),
    "pieces": Reader(
        target_vocabulary, TargetVocabulary.read, ("tokens.txt", "vocabulary.json"), text=True
    ),
    "units": Reader(
        note("tokens.txt", "a\nb\nc\n"),
        lambda folder: UnitVocabulary.read(folder / "tokens.txt"),
        ("tokens.txt",),
        text=True,
    ),
    "characters": Reader(
        note("characters.txt", "a\nb\nc\n"),
        lambda folder: read_symbols(folder / "characters.txt"),
        ("characters.txt",),
        text=True,
    ),
    "n-grams": Reader(arpa, lambda folder: list(read_arpa(folder / "lm.arpa")), ("lm.arpa",)),
    "n-grams of KenLM": Reader(
        arpa, lambda folder: perplexity(folder / "lm.arpa", [folder / "text.txt"]), ("lm.arpa",)
    ),
    "lexicon": Reader(
        note("lexicon.txt", "CAT K AE1 T\nDOG D AO1 G\n"),
        lambda folder: Lexicon.read(folder / "lexicon.txt"),
        ("lexicon.txt",),
        text=True,
    ),
    "durations": Reader(
        durations,
        lambda folder: DurationTable.read(folder / "durations.txt"),
        ("durations.txt",),
        text=True,
    ),
    "scores": Reader(
        lambda folder: write_figures(folder, {"wer": 3}), read_figures, ("scores.json",), text=True
    ),
    "Hugging Face": Reader(
        huggingface, lambda folder: load_huggingface(str(folder)), ("model.safetensors",)
    ),
    "Hugging Face, pickled": Reader(
        pickled_huggingface, lambda folder: load_huggingface(str(folder)), ("pytorch_model.bin",)
    ),
    "Hugging Face's values": Reader(
        huggingface,
        lambda folder: load_huggingface(str(folder)),
        ("config.json", "preprocessor_config.json"),
        text=True,
    ),
}
OPTIONAL = {"search.json", "preprocessor_config.json", "checkpoint.pth"}
"""Files that need not be there for some reader."""
HTML = b"\n<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
DAMAGES = {
    "is empty": lambda content: b"",
    "nothing but zeros": lambda content: bytes(len(content)),
    "a web page": lambda content: HTML,
    "Git LFS": lambda content: LFS,
}
ROWS = [(name, file) for name, reader in READERS.items() for file in reader.files]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Function: name of a row -> folder with its files; each made once."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("made")
            READERS[name].make(folders[name])
        return folders[name]

    return make


@pytest.fixture
def damaged(made):
    """Function: row, file -> (path, its content); it is whole again afterwards."""
    undo: list[tuple[Path, bytes]] = []

    def prepare(name: str, file: str) -> tuple[Path, bytes]:
        path = made(name) / file
        undo.append((path, path.read_bytes()))
        return undo[-1]

    yield prepare
    for path, content in undo:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)


@pytest.mark.parametrize(("name", "file"), ROWS)
def test_whole_files_are_read(made, name, file):
    READERS[name].read(made(name))


OURS = [name for name in READERS if not name.startswith("Hugging Face")]


@pytest.mark.parametrize("name", OURS)
def test_others_may_read_what_we_write(made, name):
    """Where the umask lets them; libraries make files that only their owner can read."""
    umask = os.umask(0o022)
    os.umask(umask)
    files = [path for path in made(name).rglob("*") if path.is_file()]
    modes = {str(path): oct(path.stat().st_mode & 0o777) for path in files}
    assert modes == dict.fromkeys(modes, oct(0o666 & ~umask)) and files


@pytest.mark.parametrize("message", DAMAGES)
@pytest.mark.parametrize(("name", "file"), ROWS)
def test_what_is_wrong_is_said(damaged, name, file, message):
    path, content = damaged(name, file)
    path.write_bytes(DAMAGES[message](content))
    with pytest.raises(ValueError, match=message) as error:
        READERS[name].read(path.parent)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert ";" in str(error.value)  # what to do comes behind it


@pytest.mark.parametrize(("name", "file"), ROWS)
def test_a_folder_in_place_of_a_file_is_named(damaged, name, file):
    path, _ = damaged(name, file)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=f"{path} is a folder|{path.name}|no usable"):
        READERS[name].read(path.parent)


@pytest.mark.parametrize(("name", "file"), [row for row in ROWS if row[1] not in OPTIONAL])
def test_a_missing_file_is_named(damaged, name, file):
    path, _ = damaged(name, file)
    path.unlink()
    with pytest.raises(ValueError, match=r"expected|here|has no |is not there"):
        READERS[name].read(path.parent)


@pytest.mark.parametrize(("name", "file"), ROWS)
def test_cut_files_are_named(damaged, name, file):
    path, content = damaged(name, file)
    n = len(content)
    cuts = sorted({1, 2, 3, 4, 7, 8, 9, 63, n // 3, n // 2, n - 100, n - 30, n - 9, n - 2, n - 1})
    for cut in (c for c in cuts if 0 < c < n):
        path.write_bytes(content[:cut])
        try:
            READERS[name].read(path.parent)
        except ValueError as error:
            assert str(path.parent) in str(error), (cut, error)
            assert READERS[name].text or "\n" not in str(error), (cut, error)
        else:
            # an ARPA file without its last line end has all its lines
            whole = content[:cut].strip() == content.strip()
            assert READERS[name].text or whole, f"cut to {cut} of {n} bytes: not noticed"


def test_a_link_to_nothing_is_explained(tmp_path):
    (tmp_path / "valid.pth").symlink_to("3epoch.pth")
    assert "link to 3epoch.pth, which is not there" in damage(tmp_path / "valid.pth")


def test_what_else_is_there_is_said(tmp_path):
    for epoch in (2, 9, 10):
        torch.save({"a": torch.zeros(3)}, tmp_path / f"{epoch}epoch.pth")
    (tmp_path / "11epoch.pth").write_bytes(b"")
    (tmp_path / "checkpoint.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"--init_param .*/10epoch.pth .*after epoch 10"):
        load_weights_only(tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match=r"other epochs are there.* 2epoch.pth 9epoch.pth 10epo"):
        load_weights_only(tmp_path / "11epoch.pth")


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("values", [10**9, 10**18])
def test_arrays_that_are_not_there_take_no_memory(tmp_path, packed, values):
    """A header may promise what no memory holds, and so may the archive's own list."""
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (values,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packed) as archive:
        archive.writestr("a.npy", buffer.getvalue() + bytes(800))
    with pytest.raises(DamagedFile, match=rf"a\.npy promises {8 * values} bytes, \d+ are there"):
        read_arrays(tmp_path / "a.npz", ["a"], "things")


@pytest.mark.parametrize("name", ["gaussians", "speakers", "k-means", "authors", "training state"])
def test_an_impossible_place_is_named_with_its_file(damaged, name):
    """Archives end with where their list lies. If that is a byte too far, the first of what it
    names seems to lie before the file, and the system calls that place invalid."""
    path, content = damaged(name, READERS[name].files[0])
    large = content.rfind(b"PK\x06\x06")  # the end of those that may be larger than 4 GB
    at = large + 48 if large >= 0 else content.rindex(b"PK\x05\x06") + 16
    place = int.from_bytes(content[at : at + 4], "little") + 1
    path.write_bytes(content[:at] + place.to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(ValueError, match=path.name):
        READERS[name].read(path.parent)


def test_packed_files_do_not_fill_the_memory(tmp_path):
    """Of zeros a packed file holds a thousand times its bytes."""
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "a.pth")
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 20))
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as whole,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in whole.infolist():
            packed.writestr(info.filename, whole.read(info))
    with pytest.raises(DamagedFile, match=r"b\.pth .*its records promise \d+ bytes, \d+ are there"):
        load_weights_only(tmp_path / "b.pth")
    with pytest.raises(DamagedFile, match=r"a\.npz .*promises 8388608 bytes, \d+ are there"):
        read_arrays(tmp_path / "a.npz", ["a"], "things")


def test_names_in_yaml_are_counted_as_often_as_they_stand(tmp_path):
    text = "a0: &a0 {k0: 1}\n" + "".join(
        f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n  k{n}: 1\n" for n in range(1, 40)
    )
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DamagedFile, match="more than 1000000 values"):
        read_yaml(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(DamagedFile, match="more than 1000000 values"):
        read_yaml(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("a: &a {k: 1}\nb: {<<: *a, l: [*a, *a]}\n")
    assert read_yaml(tmp_path / "c.yaml") == {
        "a": {"k": 1},
        "b": {"k": 1, "l": [{"k": 1}, {"k": 1}]},
    }


def test_pipes_and_devices_are_no_files(tmp_path):
    """A reader looks at a file's start, then opens it again: of a pipe that part would be gone."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (read_yaml, Lexicon.read, TorchFile, load_weights_only, refuse_wide):
            with pytest.raises(ValueError, match=f"{path} is a pipe or a device"):
                read(path)


def test_a_graph_takes_no_more_memory_than_its_file(damaged):
    """kaldifst takes memory for the number of states that the file names."""
    path, content = damaged("graph", "graph.fst")
    at = content.index(b"standard") + len("standard") + 4 + 4 + 8 + 8
    path.write_bytes(content[:at] + (1 << 40).to_bytes(8, "little") + content[at + 8 :])
    with pytest.raises(DamagedFile, match=r"graph\.fst is cut off or damaged"):
        READERS["graph"].read(path.parent)


@pytest.mark.parametrize(("what", "value"), [("width", 10**9), ("n_classes", 10**12)])
def test_wrong_sizes_of_a_network_take_no_memory(damaged, what, value):
    path, content = damaged("network's sizes", "network.json")
    path.write_text(json.dumps({**json.loads(content), what: value}))
    with pytest.raises(DamagedFile, match=r"network\.json .*weights do not fit it") as error:
        READERS["network's sizes"].read(path.parent)
    assert "\n" not in str(error.value)


def test_sizes_of_a_store_come_to_an_end(tmp_path):
    store(tmp_path)
    values = json.loads((tmp_path / "store.json").read_text())
    for changes in ({"chunk_lines": 0}, {"chunk_lines": -2}, {"lines": 10**12, "chunk_lines": 1}):
        (tmp_path / "store.json").write_text(json.dumps({**values, **changes}))
        with pytest.raises(ValueError, match="lines"):
            UnitStore(tmp_path).check(TextCorpus(tmp_path / "text"))


@pytest.mark.parametrize("length", [1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize(
    "about", [b"[" * 100_000, b'{"rows": 0, "kinds": [], "sources": {}, "note": {}}']
)
def test_a_damaged_index_is_made_anew(tmp_path, length, about):
    for size in (length, len(about)):
        end = size.to_bytes(8, "little") + b"SLMCOLS1"
        (tmp_path / "index").write_bytes(about + end)
        assert open_columns(tmp_path / "index", {}) is None


def test_a_model_folder_names_its_file(model_folder):
    folder = model_folder(seed=3)
    for name in ("model.safetensors", "config.yaml", "tokens.txt", "characters.txt"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(b"")
        with pytest.raises(ValueError, match=f"{name} is empty"):
            load_speechlm(folder)
        (folder / name).write_bytes(content)
    load_speechlm(folder)


def test_a_damaged_word_model_stops_the_graph(tmp_path):
    (tmp_path / "lm.arpa").write_text("\\data\\\nngram 1=3\n\n\\1-grams:\n-1 </s>\n")
    with pytest.raises(ValueError, match="lm.arpa: cut off.*train_ngram"):
        make_graph({}, tmp_path / "lm.arpa", classes(), tmp_path / "graph")


def test_too_little_memory_is_one_line():
    def main():
        raise MemoryError("Unable to allocate 256 GiB")

    with pytest.raises(SystemExit, match="error: not enough memory .*256 GiB"):
        run(main)


def test_names_of_others_send_nothing_to_the_terminal(tmp_path):
    (tmp_path / "a\x1b[31m\x9b.yaml").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"a\\x1b\[31m\\x9b\.yaml is empty"):
        run(lambda: read_yaml(tmp_path / "a\x1b[31m\x9b.yaml"))


def test_programs_end_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: .*no expected, but it is not there"):
        run(lambda: read_yaml(tmp_path / "no"))
