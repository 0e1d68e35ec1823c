#!/usr/bin/env bash
# The CamVid ladder: four networks trained from scratch on the train split alone, tested once, at a fixed number of epochs.
#   tools/camvid_ladder.sh CAMVID_FOLDER RUNS_FOLDER [CHECKPOINTS_FOLDER]
# Runs that are finished are left as they are, one that was cut off goes on. EPOCHS=, SEEDS= and FLAGS= change the budget;
# EDGEAILITE=… names another command; ONLY="unet_1 fpn_1" trains these and stops, so that several processes share the runs.
# With a third folder, the weights are kept there as float16 files.
set -euo pipefail
data=${1:?folder of CamVid}
runs=${2:?folder for the runs}
kept=${3:-}
edgeailite=${EDGEAILITE:-edgeailite}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$runs"

# The preset camvid: crops of half a picture's size, at 0.45 to 1.1 of full size; tested at full size, 480x360.
recipe="--evaluate_every 1000 --save_every 30 --epochs ${EPOCHS:-60}"

train() { # NAME MODEL SEED [flags]
    case " ${ONLY:-$1} " in *" $1 "*) ;; *) return 0 ;; esac
    if [ -e "$runs/$1/last.pt" ]; then $edgeailite train --resume "$runs/$1" >/dev/null; return; fi
    # shellcheck disable=SC2086
    $edgeailite preset camvid $recipe --model_name "$2" --data_path "$data" --save_path "$runs/$1" --seed "$3" ${FLAGS:-} "${@:4}"
}

score() { printf '%-18s ' "$1"; $edgeailite validate "$2" --weights last --data_path "$data" --split test --json True; }

deeplab=deeplabv3plus_mobilenetv2_tv_edgeailite
for seed in ${SEEDS:-1 2 3}; do train "deeplab_$seed" $deeplab "$seed"; done
train fpn_1 fpn_aspp_mobilenetv2_tv_edgeailite 1
train unet_1 unet_aspp_mobilenetv2_tv_edgeailite 1
train regnet_1 fpn_aspp_regnetx400mf_edgeailite 1
# Reported apart: the same budget, from weights that the generated scenes taught (tools/streets_tasks.sh makes them).
if [ -n "${PRETRAINED:-}" ]; then train deeplab_streets $deeplab 1 --pretrained "$PRETRAINED" --allow_head_mismatch True; fi
if [ -n "${ONLY:-}" ]; then exit 0; fi

printf '\n== test, 173 pictures\n'
for run in "$runs"/*/; do score "$(basename "$run")" "$run"; done
if [ -n "$kept" ]; then
    mkdir -p "$kept"
    for run in deeplab_1 fpn_1 unet_1 regnet_1; do
        python "$here/tools/keep_checkpoint.py" "$runs/$run" "$kept/camvid_$run.pt"
        score "$run, float16" "$kept/camvid_$run.pt"
    done
fi
