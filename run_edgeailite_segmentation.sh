#!/usr/bin/env bash
# From nothing to a proven int8 ONNX file: sets itself up on a machine with bash and Python >= 3.11, then runs a preset.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: ./run_edgeailite_segmentation.sh [--cpu | --cuda] [PRESET [RUN] [flags] | --list | --help]

  (nothing)         the demo: makes a data set, trains, quantizes, exports and proves a lite network (about 8 minutes on 2 cores)
  --list            the presets by data set, one line each: every published recipe, and what follows a training
  PRESET [flags]    runs a preset; flags replace its values, e.g. --data_path DIR --epochs 30, --dry_run True
  PRESET RUN        presets that take a run folder: qat, calibrate, validate, export, verify, report
  --help            this text; PRESET --help lists the flags

  --cpu, --cuda     comes first. When the set-up has to install: torch and torchvision from PyTorch's CPU index
                    (https://download.pytorch.org/whl/cpu, 0.2 GB), or from PyPI, whose Linux builds bring CUDA (6 GB on disk).
                    By itself it takes the first where no NVIDIA driver is loaded and that index can be reached

The first run makes .venv beside this script, unless the active environment has all that is needed; a later run
spends no time on that. Paths in flags and the results are relative to the folder this is called from.
Exit codes: 0 ok, 1 finished with listed failures, 2 usage, 3 data, 4 parity, 5 diverged, 130 interrupted.
HELP
}

choice=""
if [ "${1:-}" = --cpu ] || [ "${1:-}" = --cuda ]; then
    choice="${1#--}"
    shift
fi
case "${1:-}" in
    --help | -h) usage; exit 0 ;;
    "") command=(demo) ;;
    --list) command=(presets) ;;
    --cpu | --cuda) printf 'error: --cpu or --cuda is given twice\n' >&2; exit 2 ;;
    -*) printf 'error: %s is no preset: name the preset first (--list shows them), then its flags\n' "$1" >&2; exit 2 ;;
    *) command=(preset "$@") ;;
esac

# shellcheck source=tools/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/tools/setup.sh"
setup_python train "$choice"
exec "$PYTHON" -P -m edgeailite "${command[@]}"
