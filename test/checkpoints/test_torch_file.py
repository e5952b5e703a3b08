"""Reading of torch.save files: what they hold, and what happens to hostile and damaged ones."""

import io
import os
import pickle
import signal
import struct
import tracemalloc
import zipfile
from collections import OrderedDict, defaultdict
from contextlib import contextmanager, suppress

import pytest
import torch
from omegaconf import OmegaConf

from speechlm.checkpoints import inert_pickle
from speechlm.checkpoints.inert_pickle import Record, plain
from speechlm.checkpoints.torch_file import TorchFile

FORMATS = pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])


MAGIC = 0x1950A86A20F9469CFC6C


@contextmanager
def within(seconds):
    """A block that is ended when it takes longer."""

    def end(*_):
        pytest.fail(f"more than {seconds} s", pytrace=False)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def save(content, path, older=False):
    torch.save(content, path, _use_new_zipfile_serialization=not older)
    return path


def tensors():
    x = torch.arange(24.0).view(4, 6)
    return {
        "whole": x,
        "turned": x.T,
        "part": x[1:3, 2:],
        "steps": x[::2, ::3],
        "number": x[1, 1],
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(x * 2),
        **{
            str(d): x.to(d)
            for d in (
                torch.float16,
                torch.bfloat16,
                torch.float64,
                torch.int64,
                torch.int32,
                torch.int16,
                torch.int8,
                torch.uint8,
            )
        },
        "flags": x > 3,
    }


@FORMATS
def test_tensors_come_back_bit_for_bit(older, tmp_path):
    expected = tensors()
    path = save({"model": expected, "size": torch.Size([2, 3])}, tmp_path / "file.pt", older)
    with TorchFile(path) as file:
        assert file.content["size"] == (2, 3)
        for name, tensor in expected.items():
            got = file.read(file.content["model"][name])
            assert got.dtype == tensor.dtype and torch.equal(got, tensor), name
            assert got.is_contiguous()


@FORMATS
def test_only_the_tensors_that_are_asked_for_are_read(older, tmp_path):
    content = {"model": {"w": torch.ones(3)}, "optimizer": torch.zeros(2_000_000)}
    path = save(content, tmp_path / "file.pt", older)
    with TorchFile(path) as file:
        read = []
        original = file._read_block
        file._read_block = lambda key: read.append(key) or original(key)
        assert torch.equal(file.read(file.content["model"]["w"]), torch.ones(3))
    assert len(read) == 1


def test_types_that_no_checkpoint_has(tmp_path):
    path = save({"w": torch.zeros(5, dtype=torch.uint16)}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match="asks for torch.*, which no checkpoint"), TorchFile(path):
        pass


def test_plain_values_of_inert_objects(tmp_path):
    nodes = OmegaConf.create(
        {
            "a": {"b": [1, 2.5, None, True, "x"]},
            "same": "${a.b}",
            "gone": "${no.such}",
            "missing": "???",
        }
    )
    content = {
        "cfg": nodes,
        "part": nodes.a,
        "counts": defaultdict(int, {"a": 1}),
        "order": OrderedDict([("z", 1), ("a", (2, 3))]),
        "bytes": b"abc",
        "type": int,
    }
    path = save(content, tmp_path / "file.pt")
    with TorchFile(path) as file:
        values = plain(file.content, "file")
        assert isinstance(file.content["cfg"], Record)
    assert values["cfg"] == {
        "a": {"b": [1, 2.5, None, True, "x"]},
        "same": [1, 2.5, None, True, "x"],
        "gone": "${no.such}",
        "missing": "???",
    }
    assert values["part"] == {"b": [1, 2.5, None, True, "x"]}
    assert values["counts"] == {"a": 1}
    assert list(values["order"].items()) == [("z", 1), ("a", (2, 3))]
    assert isinstance(values["type"], str)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def opcodes(mark):
    """Pickles that try to run `touch mark`, written by hand."""
    command = f"touch {mark}".encode()
    code = f"__import__('os').system('touch {mark}')".encode()
    text = lambda b: b"X" + struct.pack("<I", len(b)) + b  # noqa: E731
    return {
        "os.system": b"\x80\x02cos\nsystem\n" + text(command) + b"\x85R.",
        "posix.system": b"\x80\x02cposix\nsystem\n" + text(command) + b"\x85R.",
        "builtins.eval": b"\x80\x02c__builtin__\neval\n" + text(code) + b"\x85R.",
        "builtins.exec": b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93" + text(code) + b"\x85R.",
        "os.system#inst": b"(" + b"S'touch " + str(mark).encode() + b"'\n" + b"ios\nsystem\n.",
        "os.system#obj": b"(cos\nsystem\n" + text(command) + b"o.",
        "builtins.getattr": (
            b"\x80\x02c__builtin__\ngetattr\n(c__builtin__\n__import__\n"
            + text(b"os")
            + b"\x85R"
            + text(b"system")
            + b"tR"
            + text(command)
            + b"\x85R."
        ),
        "fairseq.data.os.system": (
            b"\x80\x04\x8c\x0cfairseq.data\x8c\x09os.system\x93" + text(command) + b"\x85R."
        ),
        "omegaconf.__import__('os')": (
            b"\x80\x04\x8c\x09omegaconf\x8c\x10__import__('os')\x93" + text(command) + b"\x85R."
        ),
        "torch.hub.load": b"\x80\x02ctorch.hub\nload\n" + text(command) + b"\x85R.",
        "torch._utils._import_dotted_name": (
            b"\x80\x02ctorch._utils\n_import_dotted_name\n"
            + text(b"os.system")
            + b"\x85R"
            + text(command)
            + b"\x85R."
        ),
        "torch.serialization.load": b"\x80\x02ctorch.serialization\nload\n)R.",
        "numpy.testing._private.utils.runstring": (
            b"\x80\x02cnumpy.testing._private.utils\nrunstring\n(" + text(code) + b"}tR."
        ),
        "functools.partial": b"\x80\x02cfunctools\npartial\ncos\nsystem\n\x85R.",
        "_operator.attrgetter": b"\x80\x02c_operator\nattrgetter\n" + text(b"x") + b"\x85R.",
        "copyreg._reconstructor": b"\x80\x02ccopy_reg\n_reconstructor\n(tR.",
    }


def as_zip(pickled):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", "3\n")
    return data.getvalue()


def as_older(pickled):
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2)


@pytest.mark.parametrize("name", opcodes("x"))
@pytest.mark.parametrize("form", [as_zip, as_older, bytes])
def test_functions_are_named_and_not_called(name, form, tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "hostile.pt"
    path.write_bytes(form(opcodes(mark)[name]))
    with pytest.raises(ValueError) as error, TorchFile(path):
        pass
    assert not mark.exists()
    asked = name.partition("#")[0].replace("copyreg", "copy_reg")
    if form is not bytes or name != "functools.partial":
        assert f"{path} asks for {asked}".replace("copy_reg", "") in str(error.value).replace(
            "copy_reg", ""
        )


@FORMATS
@pytest.mark.parametrize("place", ["top", "cfg", "task_state", "model", "optimizer"])
def test_hostile_objects_in_any_place(older, place, tmp_path):
    mark = tmp_path / "mark"
    evil = Calls(os.system, f"touch {mark}")
    content = {"cfg": {}, "model": {"w": torch.ones(2)}, "task_state": {}, "optimizer": {}}
    if place == "top":
        content = evil
    else:
        content[place]["evil"] = [evil]
    path = save(content, tmp_path / "hostile.pt", older)
    with pytest.raises(ValueError, match=r"asks for posix.system"), TorchFile(path):
        pass
    assert not mark.exists()


def test_allowed_names_are_inert(tmp_path):
    """Names on the list are stand-ins, whatever a pickle does with them."""
    path = tmp_path / "inert.pt"
    for name in (
        b"torch._utils\n_rebuild_tensor_v2",
        b"torch\nSize",
        b"torch\nFloatStorage",
        b"torch\nfloat32",
        b"collections\nOrderedDict",
        b"fairseq\nThing",
    ):
        for state in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x01\x00\x00\x00aK\x01s\x86"):
            path.write_bytes(as_zip(b"\x80\x02c" + name + b"\n" + state + b"b."))
            with pytest.raises(ValueError, match="damaged"), TorchFile(path):
                pass
    path.write_bytes(as_zip(b"\x80\x02cfairseq.tasks\nrun_everything\n)R."))
    with TorchFile(path) as file:
        assert plain(file.content, "x") == "<fairseq.tasks.run_everything>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a checkpoint\n", "is no checkpoint, or truncated"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no checkpoint, or truncated"),
        (pickle.dumps({"a": 1}), "is no file of torch.save"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2), "version of the file"),
        (as_zip(pickle.dumps({"a": 1}, 2)).replace(b"data.pkl", b"data.txt"), "zip file, but no"),
    ],
)
def test_files_of_another_kind(content, message, tmp_path):
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error, TorchFile(path):
        pass
    assert str(path) in str(error.value)
    with pytest.raises(ValueError, match="is not there"):
        TorchFile(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is a folder"):
        TorchFile(tmp_path)


def test_programs_and_big_endian_files(tmp_path):
    scripted = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(scripted, tmp_path / "script.pt")
    with pytest.raises(ValueError, match="TorchScript program"), TorchFile(tmp_path / "script.pt"):
        pass
    with zipfile.ZipFile(tmp_path / "big.pt", "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({}, 2))
        file.writestr("a/byteorder", "big")
    with pytest.raises(ValueError, match="big-endian"), TorchFile(tmp_path / "big.pt"):
        pass


@FORMATS
def test_cut_anywhere(older, tmp_path):
    """Every cut is an error when the file is opened, or when what is gone is read."""
    content = {"cfg": {"a": [1, 2]}, "model": {f"w{i}": torch.randn(50) for i in range(4)}}
    data = save(content, tmp_path / "whole.pt", older).read_bytes()
    path = tmp_path / "cut.pt"
    for n in sorted({*range(0, len(data), 41), *range(len(data) - 60, len(data))}):
        path.write_bytes(data[:n])
        with pytest.raises(ValueError, match="cut.pt"), TorchFile(path) as file:
            for tensor in file.content["model"].values():
                file.read(tensor)


def test_changed_bytes_of_a_zip_are_noticed(tmp_path):
    data = bytearray(save({"model": {"w": torch.ones(400)}}, tmp_path / "a.pt").read_bytes())
    place = data.index(struct.pack("<f", 1.0) * 20)
    data[place + 5] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    with TorchFile(tmp_path / "a.pt") as file, pytest.raises(ValueError, match="damaged"):
        file.read(file.content["model"]["w"])


@pytest.mark.parametrize(
    "instructions",
    [
        b"Nr" + struct.pack("<I", 1 << 25) + b".",  # LONG_BINPUT: None is object 33,554,432
        b"\x96" + struct.pack("<Q", 1 << 28) + b"x.",  # BYTEARRAY8 of 256 MB
    ],
    ids=["number", "bytes"],
)
def test_a_few_bytes_do_not_take_much_memory(instructions):
    """A single changed byte of a checkpoint once took 20 GB and 48 s."""
    tracemalloc.start()
    try:
        with suppress(ValueError):
            inert_pickle.load(io.BytesIO(b"\x80\x02" + instructions), "file")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


NESTED = b")" + b"2\x86" * 60
"""A tuple that holds the one before it twice, 60 times: to hash or to show it takes for ever."""


@pytest.mark.parametrize(
    "instructions",
    [
        b"}" + NESTED + b"K\x01s",  # SETITEM
        b"}(" + NESTED + b"K\x01u",  # SETITEMS
        b"(" + NESTED + b"K\x01d",  # DICT
        b"\x8f(" + NESTED + b"\x90",  # ADDITEMS
        b"(" + NESTED + b"\x91",  # FROZENSET
        b"ccollections\nOrderedDict\n((](" + NESTED + b"K\x01leltR",  # its own form
        NESTED + b"Q",  # BINPERSID
    ],
)
def test_nested_tuples_do_not_take_for_ever(instructions, tmp_path):
    with pytest.raises(ValueError, match="damaged|reference of type tuple"), within(5.0):
        inert_pickle.load(io.BytesIO(b"\x80\x04" + instructions + b"."), "file")
    beginning = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True}))
    (tmp_path / "a.pt").write_bytes(beginning + b"\x80\x04" + instructions + b".")
    with pytest.raises(ValueError, match=r"a\.pt is .*damaged"), within(5.0):
        TorchFile(tmp_path / "a.pt")


def test_packed_objects_are_not_larger_than_the_file(tmp_path):
    """A file of 200 KB once asked for 15 GB: torch.save packs nothing."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"]" * (1 << 20) + b".")
    with pytest.raises(ValueError, match="its objects take more than"):
        TorchFile(tmp_path / "a.pt")


def test_a_tensors_sizes_are_numbers(tmp_path):
    path = save({"model": {"w": torch.zeros(3)}}, tmp_path / "a.pt", older=True)
    data = path.read_bytes()
    size = pickle.dumps((3,), 2)[2:-1].partition(b"q")[0]  # K 3 TUPLE1
    path.write_bytes(data.replace(size, NESTED, 1))
    with pytest.raises(ValueError, match="sizes is tuple"), within(5.0):
        TorchFile(path)


def test_what_a_zip_file_lacks_is_named_with_the_file(tmp_path):
    """Its own list may lie; each of these once was a traceback, or a line without the file."""
    path = save({"model": {"w": torch.zeros(3)}}, tmp_path / "a.pt")
    whole = path.read_bytes()
    entry = whole.index(b"PK\x01\x02")
    for place, change in {
        0: b"PK\x03\x05",  # no entry begins where the list says
        30: b"X",  # it has another name there
        entry + 6: b"\xff",  # a version that does not exist
        entry + 46: b"\xff",  # a name that is no text
        whole.index(b"PK\x06\x06") + 40: b"\xff\xff\x7f",  # its list begins before the file
    }.items():
        path.write_bytes(whole[:place] + change + whole[place + len(change) :])
        with pytest.raises(ValueError, match=r"a\.pt (is .*damaged|is no)"):
            TorchFile(path)


def test_shapes_have_few_dimensions():
    instructions = b"\x80\x02ctorch\nSize\n(](" + b"K\x00" * 1000 + b"etR."
    with pytest.raises(ValueError, match=r"^file is truncated or damaged \(a shape of 1000 dim"):
        inert_pickle.load(io.BytesIO(instructions), "file")


def test_random_damage_never_is_anything_but_a_value_error(tmp_path):
    """Pickles with random bytes changed either load as something or give a ValueError."""
    generator = torch.Generator().manual_seed(0)
    content = {"cfg": {"a": [1, 2.5, "text"]}, "model": OrderedDict(w=torch.ones(3))}
    data = bytearray(save(content, tmp_path / "whole.pt", older=True).read_bytes())
    path = tmp_path / "changed.pt"
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(3):
            place = int(torch.randint(len(data), (), generator=generator))
            changed[place] = int(torch.randint(256, (), generator=generator))
        path.write_bytes(changed)
        try:
            with TorchFile(path):
                pass
        except ValueError as error:
            assert "changed.pt" in str(error)
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("storage", "arguments"),
    [
        (("storage", "FloatStorage", "0", "cpu", 4), (2, (4,), (1,))),
        (("storage", "FloatStorage", "0", "cpu", 4), (0, (1 << 40,), (0,))),
        (("storage", "FloatStorage", "0", "cpu", 4), (0, (2,), (-1,))),
        (("storage", "FloatStorage", "0", "cpu", 1 << 40), (0, (1 << 40,), (1,))),
        (("storage", "FloatStorage", "9", "cpu", 4), (0, (4,), (1,))),
    ],
)
def test_tensors_that_do_not_fit_their_data(storage, arguments, tmp_path):
    """Shapes, steps and sizes beyond the stored numbers are refused before memory is taken."""

    class Reference:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return (storage[0], torch.FloatStorage, *storage[2:]) if item is Reference else None

    data = io.BytesIO()
    rebuild = Calls(torch._utils._rebuild_tensor_v2, Reference, *arguments, False, OrderedDict())
    Pickler(data, 2).dump({"w": rebuild})
    path = tmp_path / "file.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", data.getvalue())
        file.writestr("a/data/0", struct.pack("<4f", 1, 2, 3, 4))
    with TorchFile(path) as file, pytest.raises(ValueError, match="truncated or damaged|damaged"):
        file.read(file.content["w"])
