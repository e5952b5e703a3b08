"""Graphs for torch.export and ONNX hold for any number of utterances and samples."""

import re

import pytest
import torch

SHAPES = ((1, 5000), (3, 12000), (2, 52801))
"""Utterances and samples: fewer frames than relative positions reach, and more."""


@pytest.fixture(scope="module", params=["base", "fast_base"])
def recogniser(request, exported, transformers):
    return transformers.AutoModelForCTC.from_pretrained(exported(request.param))


@pytest.fixture
def graph():
    """What export is told: an example, and that both sizes of the inputs are free."""
    inputs = example(2, 9000)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    return {"kwargs": inputs, "dynamic_shapes": dict.fromkeys(inputs, free)}


def example(batch, samples):
    """Noise, of which the last utterance is two thirds."""
    random = torch.Generator().manual_seed(samples)
    mask = torch.ones(batch, samples, dtype=torch.long)
    mask[-1, samples - samples // 3 :] = 0
    waveforms = 0.1 * torch.randn(batch, samples, generator=random) * mask
    return {"input_values": waveforms, "attention_mask": mask}


def check(recogniser, run):
    for shape in SHAPES:
        inputs = example(*shape)
        with torch.no_grad():
            expected = recogniser(**inputs).logits
        torch.testing.assert_close(run(inputs), expected, atol=1e-4, rtol=0)


def test_an_exported_program_gives_the_same(recogniser, graph):
    with torch.no_grad():
        program = torch.export.export(recogniser, (), **graph)
    check(recogniser, lambda inputs: program.module()(**inputs).logits)


def test_onnxruntime_gives_the_same(recogniser, waves, root, tmp_path, monkeypatch, capsys):
    """By the code of doc/hub.md, from the folder to the texts."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    blocks = re.findall(r"```python\n(.*?)```", (root / "doc" / "hub.md").read_text(), re.S)
    (code,) = (block for block in blocks if "torch.onnx.export" in block)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "hub").symlink_to(recogniser.name_or_path)
    monkeypatch.chdir(tmp_path)
    names = {"waveforms": waves}
    exec(code, names)
    with torch.no_grad():
        logits = recogniser(**names["processor"](waves, return_tensors="pt", **names["options"]))
    texts = names["processor"].batch_decode(logits.logits.argmax(-1))
    assert capsys.readouterr().out.splitlines()[-1] == str(texts) and all(texts)
    types = {name: value.numpy().dtype for name, value in names["example"].items()}

    def run(inputs):
        arrays = {name: value.numpy().astype(types[name]) for name, value in inputs.items()}
        return torch.from_numpy(names["session"].run(["logits"], arrays)[0])

    check(recogniser, run)
