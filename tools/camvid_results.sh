#!/usr/bin/env bash
# Every CamVid number of docs/results.md, from scratch: train, calibrate, quantize, export, verify, validate on test.
#   tools/camvid_results.sh CAMVID_FOLDER RUNS_FOLDER
# Steps whose run folder exists already are left out. About an hour and a half on 2 cores; EDGEAILITE=… names another command.
set -euo pipefail
data=${1:?folder of CamVid}
runs=${2:?folder for the runs}
edgeailite=${EDGEAILITE:-edgeailite}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$runs"

step() { printf '\n== %s\n' "$*"; "$@"; }

# The number of epochs was fixed beforehand and the last weights are used: val is one street in seven seconds.
[ -e "$runs/camvid_float/last.pt" ] || step $edgeailite preset camvid --data_path "$data" --save_path "$runs/camvid_float"
[ -e "$runs/camvid_ptq/last.pt" ] || step $edgeailite calibrate "$runs/camvid_float" --save_path "$runs/camvid_ptq"
[ -e "$runs/camvid_qat/last.pt" ] || step $edgeailite quantize "$runs/camvid_float" --save_path "$runs/camvid_qat" --evaluate_every 10 --workers 1
for run in camvid_float camvid_ptq camvid_qat; do step $edgeailite export "$runs/$run"; done
for run in camvid_float camvid_qat; do step $edgeailite verify "$runs/$run" --split test --images 0; done

score() { printf '%-28s ' "$1"; shift; $edgeailite validate "$@" --data_path "$data" --split test --json True; }
printf '\n== test, 173 pictures\n'
score "float, torch" "$runs/camvid_float"
score "float, ONNX" "$runs/camvid_float/model.onnx"
score "QAT, fake-quantized torch" "$runs/camvid_qat"
score "QAT, integer-exact torch" "$runs/camvid_qat" --integer_exact True
score "QAT, int8 ONNX" "$runs/camvid_qat/model_int8.onnx"
score "calibrated, int8 ONNX" "$runs/camvid_ptq/model_int8.onnx"
