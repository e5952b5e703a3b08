#!/usr/bin/env bash
# NAME: (say here which corpus this is, and what is trained on it.)
#   ./run.sh --corpus DIR     DIR has the folders train, dev and test, and text; see local/data.sh
#   ./run.sh --corpus DIR --config_size tiny     the paper's model, small, in place of SpeechLM-Fast
# ./run.sh --help: options. What stands below are this recipe's choices among them.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/speechlm.sh \
  --paired_parts train \
  --speech_parts train \
  --dev_parts dev \
  --test_parts test \
  --durations measured \
  --config_size fast_tiny \
  --phone_model_config ../TEMPLATE/conf/phone_model_tiny.yaml \
  --systems "scratch speech_text" \
  --nj 2 \
  "$@"
