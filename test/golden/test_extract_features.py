"""extract_features against the authors' standalone model, for every padding case."""

import pytest
import torch

from speechlm.models.front_end import normalize_waveform

MODELS = ["base", "large"]
CASES = (
    "batch",
    "batch_nomask",
    "batch_ab",
    "single_a",
    "single_b",
    "single_c",
    "single_c_falsemask",
)


@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_equals_the_authors(size, case, golden_model, golden_arrays, padded_inputs, close):
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    expected_last = arrays[f"{case}.last"]
    # Without lengths a padded batch can only be normalised beforehand.
    changes = {"normalize_waveform": False} if case == "batch_nomask" else {}
    model = golden_model(f"tiny_{size}.pt", **changes)
    waveforms, lengths = padded_inputs(case, size == "large")

    features, frame_lengths = model.extract_features(waveforms, lengths)
    close(features, expected_last, "last")

    mask_key = f"{case}.frame_padding_mask"  # absent: the authors return no mask
    expected_lengths = torch.full((len(features),), features.shape[1])
    if mask_key in arrays:
        expected_lengths = (~arrays[mask_key]).sum(1)
    assert torch.equal(frame_lengths, expected_lengths)

    layers, _ = model.extract_features(waveforms, lengths, layers="all")
    assert len(layers) == len(model.encoder.layers) + len(model.unit_encoder.layers)
    for index, layer in enumerate(layers):
        name = f"{case}.layer_results.{index}"
        if name in arrays:  # not every case has the layers
            close(layer, arrays[name], name)


@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize("case", ["batch", "single_c"])
def test_speech_transformer(size, case, golden_model, golden_arrays, padded_inputs, close):
    """Its input, its layers, and its output, which in Large is normed and not a layer's."""
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    model = golden_model(f"tiny_{size}.pt").eval()
    seen = {}
    model.encoder.register_forward_hook(
        lambda module, args, output: seen.update(input=args, output=output)
    )
    waveforms, lengths = padded_inputs(case, size == "large")
    encoded = model.encode(waveforms, lengths)
    if arrays.optional(f"{case}.source"):
        source = normalize_waveform(waveforms, lengths) if size == "large" else waveforms
        close(source, arrays[f"{case}.source"], "source")
    outputs = (*seen["output"].layers[:-1], seen["output"].last)
    for layer, output in enumerate(outputs, 1):
        name = f"{case}.rep_output_layer_{layer}"
        if arrays.optional(name):
            close(output, arrays[name], name)
    if arrays.optional(f"{case}.ret_conv"):
        inputs = seen["input"][0]
        if encoded.padding is not None:
            inputs = inputs.masked_fill(encoded.padding[..., None], 0.0)
        close(inputs, arrays[f"{case}.ret_conv"], "projected features")


@pytest.mark.parametrize("size", MODELS)
def test_layers_and_last_differ_by_the_final_norm(
    size, golden_arrays, golden_model, padded_inputs, close
):
    """`layers` are raw in both sizes; only in Base the last of them is the output."""
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    model = golden_model(f"tiny_{size}.pt")
    waveform, _ = padded_inputs("single_c", size == "large")
    last, _ = model.extract_features(waveform)
    layers, _ = model.extract_features(waveform, layers="all")
    assert torch.equal(last, layers[-1]) == (size == "base")
    close(last, arrays["single_c.last"])


@pytest.mark.parametrize("size", MODELS)
def test_front_end(size, golden_model, golden_arrays, padded_inputs, close):
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    model = golden_model(f"tiny_{size}.pt").eval()
    waveforms, _ = padded_inputs("single_c", size == "large")
    if size == "large":
        waveforms = normalize_waveform(waveforms)
    close(model.feature_extractor(waveforms).transpose(1, 2), arrays["conv_out.single_c"])


@pytest.mark.parametrize("size", MODELS)
def test_ignore_padding_makes_batches_equal_single_utterances(
    size, golden_model, golden_arrays, padded_inputs, close
):
    """Deliberate deviation: an utterance in a padded batch gives what the authors' code gives
    for it alone, where theirs differs by the group norm over padding and by a frame."""
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    waveforms, lengths = padded_inputs("batch", size == "large")
    padded = (~arrays["batch.frame_padding_mask"]).sum(1).tolist()
    alone = arrays["single_c.last"].shape[1]
    for ignore in (True, False):
        model = golden_model(f"tiny_{size}.pt", ignore_padding=ignore)
        features, frame_lengths = model.extract_features(waveforms, lengths)
        assert frame_lengths.tolist() == [padded[0], alone if ignore else padded[1]]
        close(features[0], arrays["batch.last"][0])
        if ignore:
            close(features[1, :alone], arrays["single_c.last"][0])
            assert not torch.allclose(features[1], arrays["batch.last"][1], atol=1e-3)
        else:
            close(features[1], arrays["batch.last"][1])
            assert not torch.allclose(features[1, :alone], arrays["single_c.last"][0], atol=1e-3)
