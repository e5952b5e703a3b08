#!/usr/bin/env bash
# CoVoST 2: translation of Common Voice's speech, from a SpeechLM that was trained before
# (--init_model; the default is that of egs/librispeech). --corpus names Common Voice, with a
# folder for each language, --translations CoVoST's TSV files; see local/data.sh for where they are.
#   ./run.sh --corpus CV --translations TSVS --target_lang "de ca ar tr"    the paper's directions
#   ./run.sh --corpus CV --translations TSVS --source_lang fr --target_lang en
#   ./run.sh ... --target_style cased             targets and references as they are published
#   ./run.sh ... --config_size fast_base --init_model ../librispeech/exp/pretrain_speech_text_fast
#                                                 from a SpeechLM-Fast: its size, and its folder
# ./run.sh --help: options.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --task st \
  --source_lang en \
  --target_lang de \
  --test_parts test \
  --systems given \
  --init_model ../librispeech/exp/pretrain_speech_text \
  --target_style moses \
  --min_seconds 0.02 \
  --max_seconds 30 \
  --nj 16 \
  "$@"
