#!/usr/bin/env bash
# Make the environment of one peer beside the current one, let it write its int8 file, and remove the environment.
#   benchmarks/int8_peers/setup.sh PEER FOLDER      FOLDER as `benchmarks/int8.py export` made it
# Packages of the active environment (torch, numpy, onnx) are seen, not installed again. A peer that cannot be installed
# or does not export leaves its reason in FOLDER/PEER.failed: `benchmarks/int8.py` prints it in the table.
set -uo pipefail
peer=${1:?peer: onnxruntime nncf aimet torchao brevitas litert}
folder=$(realpath "${2:?folder with float.onnx}")
here=$(cd "$(dirname "$0")" && pwd)
declare -A packages=(
  [onnxruntime]=""
  [nncf]="nncf==3.4.0"
  [aimet]="aimet-onnx==2.42.0"
  [torchao]="torchao==0.18.0"
  [brevitas]="brevitas==0.13.4 onnxoptimizer==0.4.2"
  [litert]="litert-torch==0.10.0 ai-edge-quantizer==0.10.0"
)
[[ -v packages[$peer] ]] || { echo "unknown peer $peer; known: ${!packages[*]}" >&2; exit 2; }
environment=$(mktemp -d "${TMPDIR:-/tmp}/int8-peer-XXXXXX")
trap 'rm -rf "$environment"' EXIT
log="$folder/$peer.log"
{
  python -m venv "$environment" &&
    python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
      > "$(echo "$environment"/lib/python*/site-packages)/parent.pth" &&
    { [[ -z ${packages[$peer]} ]] || "$environment/bin/pip" install --no-cache-dir ${packages[$peer]}; } &&
    PYTHONPATH="$here/../..:$here" timeout "${PEER_SECONDS:-600}" \
      "$environment/bin/python" -P "$here/with_$peer.py" "$folder"
} > "$log" 2>&1
status=$?
rm -f "$folder/$peer.failed"
if ((status)); then
  { ((status == 124)) && echo "took longer than ${PEER_SECONDS:-600} s" || tail -n 1 "$log"; } > "$folder/$peer.failed"
  echo "$peer: $(cat "$folder/$peer.failed") (log: $log)" >&2
fi
exit "$status"
