"""Graphs for torch.export and ONNX hold for any number of utterances and samples."""

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


def test_onnxruntime_gives_the_same(recogniser, graph, tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    import onnxruntime

    path = str(tmp_path / "model.onnx")
    with torch.no_grad():
        torch.onnx.export(recogniser, (), path, output_names=["logits"], dynamo=True, **graph)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs):
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(session.run(["logits"], arrays)[0])

    check(recogniser, run)
