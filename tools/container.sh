#!/usr/bin/env bash
# The entry point of the image (Dockerfile, docs/docker.md); also runs outside of one.
#
#   serve [options]               label pictures over HTTP on port $PORT (80): options of `edgeailite serve`
#   init                          put a model and a test picture into /models: from $MODEL_URL, checked against $MODEL_SHA256
#                                 where that is given, else the one in the image; what is there already stays
#   test --imgs PATH [options]    label a picture or a folder: options of `edgeailite infer`; results go to --result DIR
#   ready                         0 when `serve` takes pictures: the health check
#   VERB ...                      any verb of edgeailite: `verify FILE contract.json`, `--help`, ...
set -euo pipefail

MODELS="${MODELS:-/models}"
BUILT_IN="${BUILT_IN:-/opt/edgeailite/model}"
PORT="${PORT:-80}"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: ${*:2}"; exit "$1"; }

# The files to work with, one a line: all in /models, else the one in the image.
models() {
    local folder found
    for folder in "$MODELS" "$BUILT_IN"; do
        found="$(find -L "$folder" -maxdepth 1 -name '*.onnx' -type f 2>/dev/null | sort)"
        [ -z "$found" ] || { printf '%s\n' "$found"; return; }
    done
    fail 3 "no model: mount a folder with an exported .onnx file, -v \$PWD/runs/first_qat:/models:ro, or run init with MODEL_URL"
}

serve() {
    local found files=()
    found="$(models)"
    mapfile -t files <<<"$found"
    exec python3 -m edgeailite serve "${files[@]}" --host 0.0.0.0 --port "$PORT" "$@"
}

init() {
    [ $# -eq 0 ] || fail 2 "init takes no arguments, but \$MODEL_URL and \$MODEL_SHA256; got $*"
    mkdir -p "$MODELS" 2>/dev/null && [ -w "$MODELS" ] ||
        fail 3 "$MODELS cannot be written by user $(id -u): mount a volume there (-v models:/models), or a folder of that user"
    if [ -n "$(find -L "$MODELS" -maxdepth 1 -name '*.onnx' -type f)" ]; then
        say "there is a model in $MODELS already; it stays"
    elif [ -n "${MODEL_URL:-}" ]; then
        fetch
    elif [ -f "$BUILT_IN/model.onnx" ]; then
        find "$BUILT_IN" -maxdepth 1 -type f -name 'contract*.json' -exec cp -- {} "$MODELS" \;
        copy_whole "$BUILT_IN/model.onnx" "$MODELS/model.onnx"
    else
        fail 2 "there is no model in this image: set MODEL_URL to the address of an exported .onnx file"
    fi
    [ ! -f "$BUILT_IN/test.png" ] || [ -e "$MODELS/test.png" ] || copy_whole "$BUILT_IN/test.png" "$MODELS/test.png"
    find -L "$MODELS" -maxdepth 1 -type f ! -name '.*' | sort
}

# A reader never sees half a file.
copy_whole() {
    cp -- "$1" "$2.part"
    mv -- "$2.part" "$2"
}

# Downloads, checks the sum, and opens the file: what cannot be served does not come into the folder.
fetch() {
    local file
    file="$(MODEL_URL="$MODEL_URL" MODEL_SHA256="${MODEL_SHA256:-}" python3 -c '
import os, sys
from edgeailite.__main__ import reporting

def get():
    from edgeailite.download import download
    from edgeailite.files import sha256_of
    from edgeailite.runtime import load_onnx
    path = download(os.environ["MODEL_URL"], sha256=os.environ["MODEL_SHA256"] or None)
    load_onnx(path, threads=1)
    print("sha256", sha256_of(path), file=sys.stderr)
    print(path)
    return 0

sys.exit(reporting(get))')"
    copy_whole "$file" "$MODELS/model.onnx"
}

# The published test.py: --imgs PATH, --result DIR; --gpu and --cfg have no meaning here.
label() {
    local imgs="" result="" model rest=()
    while [ $# -gt 0 ]; do
        case "$1" in
            --imgs=* | --result=* | --gpu=* | --cfg=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --imgs | --result | --gpu | --cfg) [ $# -ge 2 ] || fail 2 "test $1: a value must follow" ;;&
            --imgs) imgs="$2"; shift ;;
            --result) result="$2"; shift ;;
            --gpu) say "note: --gpu $2 is not used: this image computes on the CPU"; shift ;;
            --cfg) fail 2 "test --cfg $2: the exported file knows its network; mount another one at /models" ;;
            *) rest+=("$1") ;;
        esac
        shift
    done
    [ -n "$imgs" ] || fail 2 "--imgs is missing: test --imgs PATH, a picture or a folder (mounted: -v \$PWD/pictures:/pictures:ro)"
    model="$(models)"
    exec python3 -m edgeailite infer "${model%%$'\n'*}" "$imgs" --save_path "${result:-/tmp/result}" ${rest[@]+"${rest[@]}"}
}

ready() {
    exec python3 -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=4).close()
except (urllib.error.URLError, OSError) as error:
    sys.exit(f"not ready: {error}")' "$PORT"
}

case "${1:-serve}" in
    serve | init | ready) "${1:-serve}" "${@:2}" ;;
    test) label "${@:2}" ;;
    *) exec python3 -m edgeailite "$@" ;;
esac
