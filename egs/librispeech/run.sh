#!/usr/bin/env bash
# LibriSpeech: recogniser and fine-tuning on the 100 h set, pre-training on all 960 h and the corpus's
# language model text, as in the paper. Without --corpus the parts are downloaded. --help: options.
# With hidden units as in the paper, of a HuBERT Base in Hugging Face's format (folder or hub name):
#   ./run.sh --unit_type hidden --hidden_model facebook/hubert-base-ls960 --hidden_layer 9
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --paired_parts train-clean-100 \
  --speech_parts "train-clean-100 train-clean-360 train-other-500" \
  --dev_parts "dev-clean dev-other" \
  --test_parts "test-clean test-other" \
  --systems speech_text \
  --nj 16 \
  "$@"
