#!/usr/bin/env bash
# Depth, motion and semantics on the generated scenes: one network for all three against one network each.
#   tools/streets_tasks.sh RUNS_FOLDER [STREETS_FOLDER]
# Runs that are finished are left as they are, one that was cut off goes on. EDGEAILITE=… names another command.
set -euo pipefail
runs=${1:?folder for the runs}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data=${2:-$here/data/datasets/streets}
edgeailite=${EDGEAILITE:-edgeailite}
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$runs"

# The number of epochs was fixed beforehand. No random scale: it would change what depth a size stands for.
recipe="--pretrained none --img_resize 128 256 --rand_scale 1.0 1.0 --rotation 0 --color_jitter 0.1 --epochs ${EPOCHS:-8} --batch_size 8
    --optimizer adamw --lr 5e-3 --weight_decay 1e-2 --warmup_epochs 0.2 --evaluate_every 4 --save_every 50
    --depth_weights 0.05 0 0 --depth_relative 2"

train() {
    if [ -e "$runs/$1/last.pt" ]; then $edgeailite train --resume "$runs/$1" >/dev/null; return; fi
    # shellcheck disable=SC2086
    $edgeailite train --dataset_name "$2" --data_path "$data" --save_path "$runs/$1" $recipe ${FLAGS:-} "${@:3}"
}

score() { printf '%-11s ' "$1"; $edgeailite validate "$runs/$1" --weights last --data_path "$data" --json True; }

train all streets_depth_semantic_motion_multi_input
train depth streets_depth
train motion streets_motion_multi_input
train semantic streets
printf '\n== validation, 100 scenes\n'
for run in all depth motion semantic; do score "$run"; done
python "$here/benchmarks/constant_predictor.py" --data_path "$data"
