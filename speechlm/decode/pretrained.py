"""A trained SpeechLM of any folder and what it can do: `speechlm.SpeechLM`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechlm.checkpoints import pretrained
from speechlm.models.inputs import evaluating

if TYPE_CHECKING:
    from speechlm.data.target_text import TargetVocabulary
    from speechlm.decode.decode_set import WithModel
    from speechlm.decode.long_audio import WindowOptions
    from speechlm.decode.transcribe import Audio
    from speechlm.decode.transcript import Transcript
    from speechlm.decode.translate import Translated
    from speechlm.models.translation_decoder import TranslationDecoder


class SpeechLM(pretrained.SpeechLM):
    """Features of any model, transcripts by one that was fine-tuned with CTC, and translations."""

    _translation: tuple[TranslationDecoder, TargetVocabulary] | None = None

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

    def translate(
        self,
        audio: Sequence[Audio],
        beam: int = 5,
        length_penalty: float = 1.0,
        max_tokens: int = 512,
        batch_samples: int = 1_600_000,
    ) -> list[Translated]:
        """What is said in each of the recordings, in the language that the model translates into.

        As the program `decode_st` translates utterances of a data directory: by beam search, in
        evaluation mode, each recording as a whole.

        Args:
            audio: files of any format and rate, and waveforms (S,), float in -1..1 at 16 kHz; as
                long as the utterances of the fine-tuning were.
            beam: hypotheses of a recording.
            length_penalty: log-probabilities are divided by the length to this power.
            max_tokens: a translation ends there.
            batch_samples: padded samples of a batch of recordings. Without `ignore_padding` in the
                config, a batch is one recording.

        Returns:
            `text` and `score` of each. `score` is the log-probability (nats) divided by the power
            of the length.

        Raises:
            AudioError: a recording is missing, damaged, empty, digital silence or shorter than a
                frame (a ValueError; it says which one).
            ValueError: the model is no fine-tuning of translation, an option is wrong, or something
                else than a list of recordings.
        """
        from speechlm.decode.beam_search import BeamOptions
        from speechlm.decode.translate import translate_audio

        options = BeamOptions(beam, length_penalty, max_tokens)
        if self._translation is None:
            from speechlm.checkpoints.translation import load_decoder

            self._translation = load_decoder(self.folder)
        decoder, vocabulary = self._translation
        decoder.to(self.mask_emb)  # its device and type
        if not self.config.ignore_padding:
            batch_samples = 1
        with evaluating(self):
            return translate_audio(self, decoder, vocabulary, audio, options, batch_samples)
