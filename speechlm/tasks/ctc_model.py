"""What CTC fine-tuning trains, and how it is validated: loss a sentence, error rates of greedy CTC.

B utterances, S samples (16 kHz), T frames (outputs of the CTC head), U characters of the longest
transcript.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from torch import Tensor

from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_greedy import collapse
from speechlm.score.error_rate import error_rates
from speechlm.tasks.trainer import Options, SpeechLMTrainer

RATES = {"wer_ctc": ("word_errors", "words"), "cer_ctc": ("character_errors", "characters")}
"""Error rate of a validation -> what a batch counts: errors, and what they are a share of."""


class CTCModelForTraining(ESPnetASRModel):
    """ESPnet's recognition model with CTC alone.

    In validation a batch is decoded greedily as `speechlm.decode` does it, and its errors are
    counted. ESPnet's own character errors count what is written on padding, too, and no spaces;
    word errors of CTC it has none.
    """

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss (1,) a sentence, statistics (1,), number of sentences (1,).

        Args:
            speech: (B, S) waveforms.
            speech_lengths: (B,) samples.
            text: (B, U) character ids, right-padded with -1.
            text_lengths: (B,) characters.
            kwargs: ids of the utterances, not used.
        """
        hidden, frames = self.encode(speech, speech_lengths)
        loss = self.ctc(hidden, frames, text, text_lengths)
        stats: dict[str, Any] = {"loss": loss.detach()}
        if not self.training:
            stats |= greedy_errors(self.ctc.argmax(hidden), frames, text, text_lengths)
        # Written by the device itself, where a number of the host would be waited for
        sentences = torch.full((1,), len(speech), device=loss.device)
        return force_gatherable((loss, stats, sentences), loss.device)


def greedy_errors(
    paths: Tensor, frames: Tensor, text: Tensor, text_lengths: Tensor
) -> dict[str, float]:
    """Errors of greedy transcripts, and what they are a share of: means over the sentences.

    Args:
        paths: (B, T) best character of each frame.
        frames: (B,) valid frames.
        text: (B, U) transcripts as character ids; `|` ends a word.
        text_lengths: (B,) characters.
    """
    vocabulary = CharacterVocabulary()
    hypotheses = [
        vocabulary.decode(collapse(path[:count], vocabulary.blank))
        for path, count in zip(paths.cpu().numpy(), frames.tolist(), strict=True)
    ]
    references = [
        vocabulary.decode(ids[:count])
        for ids, count in zip(text.tolist(), text_lengths.tolist(), strict=True)
    ]
    names = [str(row) for row in range(len(references))]
    found = error_rates(
        dict(zip(names, references, strict=True)), dict(zip(names, hypotheses, strict=True))
    )
    counts = (
        *(found.words.errors, found.words.tokens),
        *(found.characters.errors, found.characters.tokens),
    )
    keys = [key for pair in RATES.values() for key in pair]
    return {key: count / len(names) for key, count in zip(keys, counts, strict=True)}


class CTCTrainer(SpeechLMTrainer):
    """Trainer whose validations end in the error rates of the whole set."""

    @classmethod
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Any],
        reporter: SubReporter,
        options: Options,
        distributed_option: DistributedOption,
    ) -> None:
        """ESPnet's validation; see `registering_rates`."""
        reporter.register = registering_rates(reporter.register)
        super().validate_one_epoch(model, iterator, reporter, options, distributed_option)


def registering_rates(register: Callable[..., None]) -> Callable[..., None]:
    """ESPnet's function that takes a batch's statistics, for statistics with the counts of `RATES`.

    A rate of the set is the quotient of sums, errors of all batches over words of all batches.
    ESPnet averages over batches with a weight: with e_b errors in w_b words of batch b,
    sum_b w_b (e_b / w_b) / sum_b w_b is the quotient.
    """

    def register_rates(stats: dict[str, Any], weight: Any = None) -> None:
        stats = dict(stats)
        for rate, (errors, total) in RATES.items():
            if errors in stats:
                wrong, count = stats.pop(errors), stats.pop(total)  # of a sentence, on average
                register({rate: wrong / count}, weight * count)
        register(stats, weight)

    return register_rates
