#!/usr/bin/env bash
# Sizes of models (--config_size). The rows below are all that the stages and the tasks know of them; a
# further size is a further row, and one of SIZES in speechlm/checkpoints/model_dir.py. Sourced by
# speechlm.sh.
# shellcheck disable=SC2034,SC2154  # helpers are speechlm.sh's, and names are read there

# fine-tuning, words, text-to-unit: NAMEs of conf/NAME.yaml for CTC fine-tuning, for the Transformer of
#   words (which knows nothing of the encoder), and for the text-to-unit model. Pre-training and
#   translation have conf/pretrain_SIZE.yaml and conf/finetune_st_SIZE.yaml.
# layer: the middle one, which is clustered for the units of a further iteration.
size_table="
  # size       fine-tuning              words     text-to-unit       layer
  tiny         finetune_tiny            lm_tiny   text_to_unit_tiny  2
  base         finetune_base_100h       lm_base   text_to_unit       6
  large        finetune_large_960h      lm_large  text_to_unit       12
  fast_tiny    finetune_fast_tiny       lm_tiny   text_to_unit_tiny  2
  fast_base    finetune_fast_base_100h  lm_base   text_to_unit       6
  fast_large   finetune_fast_large_960h lm_large  text_to_unit       12
"
size_names=()
declare -A size_finetune size_lm size_text_to_unit size_layer
while read -r name finetune lm_name text_to_unit layer; do
  [[ -n ${name} && ${name} != "#" ]] || continue
  size_names+=("${name}")
  size_finetune[${name}]=${finetune}.yaml
  size_lm[${name}]=${lm_name}.yaml
  size_text_to_unit[${name}]=${text_to_unit}.yaml
  size_layer[${name}]=${layer}
done <<< "${size_table}"

check_size() {
  among "${config_size}" "${size_names[@]}" ||
    die "--config_size is '${config_size}'; it can be $(alternatives "${size_names[@]}")"
}
