#!/usr/bin/env bash
# LibriSpeech: recogniser and fine-tuning on the 100 h set, pre-training on all 960 h and the corpus's
# language model text. Fine-tuning keeps the weights that write dev-other best, as the authors do.
# Without --corpus the parts are downloaded. --help: options.
# SpeechLM-Fast, which costs a third of the operations and is not the paper's model (doc/fast.md), of
# Base's or Large's size; both stand side by side by a tag:
#   ./run.sh --config_size fast_base --tag fast
# Large on 960 h with transcripts, from a model that was pre-trained before:
#   ./run.sh --config_size large --systems given --init_model DIR \
#     --paired_parts "train-clean-100 train-clean-360 train-other-500"
# Decoding with the corpus's own n-grams and words (openslr.org/11), as others' results are:
#   ./run.sh --corpus_lm true
# With hidden units of a HuBERT Base in Hugging Face's format (folder or hub name):
#   ./run.sh --unit_type hidden --hidden_model facebook/hubert-base-ls960 --hidden_layer 9
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --paired_parts train-clean-100 \
  --speech_parts "train-clean-100 train-clean-360 train-other-500" \
  --dev_parts dev-other \
  --test_parts "test-clean test-other" \
  --systems speech_text \
  --nj 16 \
  "$@"
