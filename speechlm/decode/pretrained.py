"""A trained SpeechLM of any folder and what it can do: `speechlm.SpeechLM`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechlm.checkpoints import pretrained
from speechlm.models.inputs import evaluating

if TYPE_CHECKING:
    from speechlm.decode.decode_set import WithModel
    from speechlm.decode.long_audio import WindowOptions
    from speechlm.decode.transcribe import Audio
    from speechlm.decode.transcript import Transcript


class SpeechLM(pretrained.SpeechLM):
    """Features of any model, and transcripts of one that was fine-tuned with CTC."""

    def transcribe(
        self,
        audio: Sequence[Audio],
        lm: str | os.PathLike[str] | WithModel | None = None,
        window: WindowOptions | None = None,
        batch_samples: int = 1_600_000,
    ) -> list[Transcript]:
        """What is said in each of the recordings, in evaluation mode; as `speechlm.CTC.transcribe`.

        Args:
            audio: files of any format, rate and length, and waveforms (S,), float in -1..1 at
                16 kHz.
            lm: folder of a decoding graph; None: the best character of each frame.
            window: what of a long recording the network sees at once.
            batch_samples: padded samples of a batch of such windows. Without `ignore_padding` in
                the config, a batch is one window.

        Raises:
            ValueError: the model was not fine-tuned with CTC, or as `speechlm.CTC.transcribe`.
        """
        from speechlm.checkpoints.load_ctc import check_ctc
        from speechlm.decode.transcribe import CTC

        check_ctc(self.folder)
        listener = CTC(self)
        listener.folder = self.folder
        if not self.config.ignore_padding:
            batch_samples = 1
        with evaluating(self):
            return listener.transcribe(audio, lm, window, batch_samples)
