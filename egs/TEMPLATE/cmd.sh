#!/usr/bin/env bash
# What starts jobs: anything with the contract of Kaldi's run.pl may stand here,
#   COMMAND [--gpu N --mem 4G --num_threads N --time T] [JOB=1:N] LOG COMMAND...
# ./run.sh --cluster chooses: local.py uses this machine, slurm.py a Slurm cluster (conf/slurm.conf says
# what options mean there). conf/resources.txt has what each step takes; options here go before it. Values
# with blanks are in quotes: "slurm.py --config 'my conf/slurm.conf'".
# A recipe's own cmd.sh is read behind this one.
# shellcheck disable=SC2154  # cluster is an option of the recipe
export train_cmd="${cluster}.py"  # alignment, feature and other CPU jobs
export cuda_cmd="${cluster}.py"   # training
export decode_cmd="${cluster}.py" # decoding
# step_cmd, what is no parallel job (word models, graphs, k-means, tables): train_cmd where it is not set
