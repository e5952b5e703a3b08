"""The pre-training loss: terms of speech and text, put together (paper, L_total)."""

from __future__ import annotations

import torch
from torch import Tensor

from speechlm.models.config import SpeechLMConfig
from speechlm.models.inputs import to_device
from speechlm.models.outputs import SpeechOutput, TextOutput


def total_loss(
    config: SpeechLMConfig, speech: SpeechOutput, text: TextOutput | None
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """See `SpeechLM.total_loss`."""
    # UMLM: CE_middle + CE_top, summed over the scored frames
    entropy, count = speech.middle.loss + speech.top.loss, speech.n_masked
    if speech.unmasked is not None:
        middle, top = speech.unmasked
        entropy = entropy + config.unmasked_weight * (middle.loss + top.loss)
        count += middle.logits.shape[0]
    # A scored frame's share: sums over N are divided by N, the penalty is a mean already.
    loss = entropy / max(1, count)
    if count > 0:
        loss = loss + config.feature_penalty_weight * speech.feature_penalty
    stats = _masked_stats(speech) | {"feature_penalty": speech.feature_penalty}
    # UCTC a character, which the authors weigh with N masked frames before they divide by N
    if text is not None:
        ctc = text.ctc / text.n_tokens.clamp(min=1)
        loss = loss + config.text_ctc_weight * ctc
        # Without any character, 0 / 0
        stats["loss_ctc"] = text.ctc.detach() / text.n_tokens
        stats["impossible_lines"] = text.n_impossible
    stats["loss"] = loss
    stats["n_masked"] = loss.new_full((), speech.n_masked)
    weight = loss.new_full((), count)
    return loss, {k: to_device(v.detach().float(), loss) for k, v in stats.items()}, weight


def _masked_stats(speech: SpeechOutput) -> dict[str, Tensor]:
    """Losses and accuracies at both depths, per masked frame."""
    names = ("loss_middle", "loss_top", "accuracy_middle", "accuracy_top")
    sums = [speech.middle.loss, speech.top.loss, speech.middle.correct, speech.top.correct]
    shares = torch._foreach_div([x.detach() for x in sums], max(1, speech.n_masked))
    return dict(zip(names, shares, strict=True))
