#!/usr/bin/env bash
# Runs the tests, setting itself up first where needed. Arguments go to pytest as they are, and paths in them are
# relative to the repository root: tools/test.sh tests/losses -k ignore; tools/test.sh -m slow
# Without arguments: the whole fast suite, one worker per core; then every worker gets one thread, or they would fight.
# EDGEAILITE_CAMVID names a CamVid folder for the tests that use real data; without it they are skipped.
set -euo pipefail

# shellcheck source=tools/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
case "${1:-}" in
    --cpu | --cuda) setup_python dev "${1#--}"; shift ;;
    *) setup_python dev ;;
esac
cd -- "$EDGEAILITE_ROOT"

if [ $# -gt 0 ]; then exec "$PYTHON" -m pytest "$@"; fi
export OMP_NUM_THREADS=1
"$PYTHON" -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile
# In a process where OpenVINO has computed, a later child process ended the whole process on a CPU with AMX.
exec "$PYTHON" -m pytest -m openvino
