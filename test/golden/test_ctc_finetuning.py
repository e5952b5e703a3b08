"""CTC fine-tuning's forward and backward against the authors' model."""

import pytest
import torch

from speechlm.conventions import EOS
from speechlm.models.losses import ctc_loss


@pytest.fixture(params=["base", "large"])
def case(request, golden_model, golden_arrays, padded_inputs):
    size = request.param
    arrays = golden_arrays("ctc_finetune_io.npz")
    suffix = "_large" if size == "large" else ""
    model = golden_model(f"tiny_pretrain{suffix}.pt", feature_grad_mult=0.0).eval()
    logits = arrays[f"{size}.logits_TBC"]  # skips where the case is absent
    batch = padded_inputs("batch", size == "large")
    assert logits.shape[1] == len(batch[0])
    return model, batch, lambda name: arrays[f"{size}.{name}"]


def test_logits_loss_and_gradients(case, close, check_gradient_norms):
    model, (waveforms, lengths), value = case
    encoded = model.encode(waveforms, lengths)
    logits = model.ctc_logits(encoded)
    close(logits, value("logits_TBC").transpose(0, 1), "logits")
    assert torch.equal(encoded.lengths, value("input_lengths"))
    assert torch.equal(encoded.padding, value("out_padding_mask"))
    assert torch.equal(logits.argmax(-1), value("greedy_frames_BT"))

    target = value("target")
    assert value("sample_size") == len(target)
    assert torch.equal((target > EOS).sum(1), value("target_lengths"))
    loss = ctc_loss(logits, encoded.lengths, target)
    close(loss, value("ctc_loss_sum"), "loss")
    loss.backward()

    def translate(name):
        if name.startswith("w2v_encoder.proj."):
            return None
        return name.removeprefix("w2v_encoder.w2v_model.")

    check_gradient_norms(
        model.named_parameters(remove_duplicate=False),
        value("gradnorm_names"),
        value("gradnorm_values"),
        translate,
    )


def test_single_utterance(case, close):
    model, (waveforms, lengths), value = case
    encoded = model.encode(waveforms[:1], lengths[:1])
    close(model.ctc_logits(encoded), value("single.logits_TBC").transpose(0, 1))
