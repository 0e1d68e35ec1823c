#!/usr/bin/env bash
# CamVid from ImageNet weights, and newer networks from scratch: trained on the train split alone, tested once with the last weights, in float and
# as a calibrated int8 file.
#   tools/camvid_pretrained.sh CAMVID_FOLDER RUNS_FOLDER [CHECKPOINTS_FOLDER]
# Runs that are finished are left as they are, one that was cut off goes on. ONLY="fpn18_1 fpn18_2" trains these and stops, so that several
# processes share the runs; FLAGS= adds options; EDGEAILITE=… names another command. With a third folder, the weights of fpn48_1 are kept there
# as a float16 file.
set -euo pipefail
data=${1:?folder of CamVid}
runs=${2:?folder for the runs}
kept=${3:-}
edgeailite=${EDGEAILITE:-edgeailite}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$runs"
names=""

train() { # NAME PRESET MODEL SEED [flags]
    names="$names $1"
    case " ${ONLY:-$1} " in *" $1 "*) ;; *) return 0 ;; esac
    if [ -e "$runs/$1/last.pt" ]; then $edgeailite train --resume "$runs/$1" >/dev/null; return; fi
    # shellcheck disable=SC2086
    $edgeailite preset "$2" --evaluate_every 1000 --model_name "$3" --seed "$4" --data_path "$data" --save_path "$runs/$1" "${@:5}" ${FLAGS:-}
}

score() { printf '%-22s ' "$1"; $edgeailite validate "$2" "${@:3}" --data_path "$data" --split test --json True; }

fpn=fpn128full_aspp_efficientnet_lite0_edgeailite
train fpn48_1 camvid_pretrained $fpn 1
for seed in 1 2 3; do train "fpn18_$seed" camvid_pretrained $fpn "$seed" --epochs 18; done
train deeplab18_1 camvid_pretrained deeplabv3plus_efficientnet_lite0_edgeailite 1 --epochs 18
train scratch_ddrnet camvid ddrnet23_slim 1 --epochs 45
train scratch_mobilenetv4 camvid fpn_aspp_mobilenetv4_conv_small_edgeailite 1 --epochs 45
if [ -n "${ONLY:-}" ]; then exit 0; fi

printf '\n== test, 173 pictures: float, then the calibrated int8 file\n'
for run in $names; do
    score "$run" "$runs/$run" --weights last
    if [ ! -e "$runs/${run}_ptq/model_int8.onnx" ]; then
        $edgeailite calibrate "$runs/$run" --weights last --correct_bias True --observer minmax >/dev/null
        $edgeailite export "$runs/${run}_ptq" >/dev/null
        $edgeailite verify "$runs/${run}_ptq"
    fi
    score "$run, int8" "$runs/${run}_ptq/model_int8.onnx"
done
if [ -n "$kept" ]; then
    mkdir -p "$kept"
    python "$here/tools/keep_checkpoint.py" "$runs/fpn48_1" "$kept/camvid_fpn128full_lite0_1.pt"
    score "fpn48_1, float16" "$kept/camvid_fpn128full_lite0_1.pt"
fi
