"""extract_features against the authors' standalone model, for every padding case."""

import pytest
import torch

MODELS = ["base", "large"]


@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize(
    "case",
    ["batch", "batch_nomask", "batch_ab", "single_a", "single_b", "single_c", "single_c_falsemask"],
)
def test_equals_the_authors(size, case, golden_model, golden_arrays, padded_inputs, close):
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    expected_last = arrays[f"{case}.last"]
    model = golden_model(f"tiny_{size}.pt")
    waveforms, lengths = padded_inputs(arrays, case, size == "large")

    features, frame_lengths = model.extract_features(waveforms, lengths)
    close(features, expected_last, "last")

    mask_key = f"{case}.frame_padding_mask"
    expected_lengths = torch.full((len(features),), features.shape[1])
    if mask_key in arrays:
        expected_lengths = (~arrays[mask_key]).sum(1)
    assert torch.equal(frame_lengths, expected_lengths)

    layers, _ = model.extract_features(waveforms, lengths, layers="all")
    assert len(layers) == 4
    for index, layer in enumerate(layers):
        if f"{case}.layer_results.{index}" in arrays:
            close(layer, arrays[f"{case}.layer_results.{index}"], f"layer {index}")


@pytest.mark.parametrize("size", MODELS)
def test_speech_transformer_output(size, golden_model, golden_arrays, padded_inputs, close):
    """The first encoder's final output, which in Large is normed (output_layer 2)."""
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    model = golden_model(f"tiny_{size}.pt").eval()
    seen = []
    model.encoder.register_forward_hook(lambda module, args, output: seen.append(output.last))
    model.extract_features(padded_inputs(arrays, "single_c", size == "large")[0])
    close(seen[0], arrays["single_c.rep_output_layer_2"])


@pytest.mark.parametrize("size", MODELS)
def test_front_end(size, golden_model, golden_arrays, padded_inputs, close):
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    model = golden_model(f"tiny_{size}.pt").eval()
    waveforms, _ = padded_inputs(arrays, "single_c", size == "large")
    close(model.feature_extractor(waveforms), arrays["conv_out.single_c"])


def test_ignore_padding_makes_batches_equal_single_utterances(
    golden_model, golden_arrays, padded_inputs, close
):
    """Deliberate deviation: an utterance in a padded batch gives what the authors' code gives
    for it alone, where theirs differs by the group norm over padding and by a frame."""
    arrays = golden_arrays("tiny_base_io.npz")
    model = golden_model("tiny_base.pt", ignore_padding=True)
    waveforms, lengths = padded_inputs(arrays, "batch", normalize=False)
    features, frame_lengths = model.extract_features(waveforms, lengths)
    assert frame_lengths.tolist() == [125, 34]
    close(features[0], arrays["single_b.last"][0])
    close(features[1, :34], arrays["single_c.last"][0])
    assert not torch.allclose(features[1, :34], arrays["batch.last"][1, :34], atol=1e-3)
