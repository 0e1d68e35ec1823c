#!/usr/bin/env bash
# Finds or makes a Python environment that can run this checkout. Needs bash and Python >= 3.11, nothing else.
# Sourced by run_edgeailite_segmentation.sh, tools/test.sh and tools/check.sh, which call `setup_python`;
# called by hand it does the same and prints the interpreter it settled on.
#
# In this order, the first that has everything pyproject.toml asks for:
#   1. the active environment ($VIRTUAL_ENV or $CONDA_PREFIX)
#   2. .venv in the repository root
#   3. the first of python3, python3.14 ... python3.11 on PATH that is new enough
#   4. a new .venv, made here
# Environments that were not made here are never changed, except a .venv in the repository root.
#
# What .venv holds is written in .venv itself: `installed-train` and `installed-dev` carry a checksum of the
# pyproject.toml they were installed from; `installing` carries the process at work, and outlives one that was cut off.
set -euo pipefail

EDGEAILITE_ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Prints the first interpreter on PATH that runs and is new enough. One that is only a name (a version manager's shim) is passed over.
find_python() {
    local candidate found=""
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if is_new_enough "$candidate"; then command -v "$candidate"; return; fi
        found="$found $("$candidate" --version 2>/dev/null | head -n 1 || true)"
    done
    found="$(printf '%s' "$found" | tr -s ' ' | sed 's/^ //')"
    fail "edgeailite needs Python >= 3.11; found ${found:-no python3 on PATH}: install one (python.org, apt install python3.11-venv, pyenv, uv)"
}

# unmet PYTHON EXTRAS: prints what pyproject.toml asks for and PYTHON lacks; fails when PYTHON cannot tell.
unmet() {
    PYTHONPATH="$EDGEAILITE_ROOT" "$1" -c '
import sys
from edgeailite.environment import unmet_requirements
print(", ".join(unmet_requirements(sys.argv[1:])))' ${2//,/ } 2>/dev/null
}

# What the tests need without its dependencies: pycls would bring opencv-python, which overwrites the headless build.
ALONE="pycls==0.1.1"
has_alone() { "$1" -c 'import importlib.metadata, sys; importlib.metadata.version(sys.argv[1])' "${ALONE%%=*}" 2>/dev/null; }
install_alone() { "$1" -m pip --disable-pip-version-check install --quiet --no-deps "$ALONE" >&2; }

# can_run PYTHON EXTRA: does it have everything? Says why not, when asked by a third argument.
can_run() {
    local missing
    is_new_enough "$1" || { [ -z "${3:-}" ] || say "$3 is not used: its Python is older than 3.11"; return 1; }
    missing="$(unmet "$1" "$2")" || { [ -z "${3:-}" ] || say "$3 is not used: it cannot read pyproject.toml"; return 1; }
    if [ -z "$missing" ] && [ "$2" = dev ] && ! has_alone "$1"; then missing="$ALONE (pip install --no-deps $ALONE)"; fi
    [ -z "$missing" ] && return 0
    [ -z "${3:-}" ] || say "$3 is not used: it lacks $missing"
    return 1
}

checksum() { cksum <"$EDGEAILITE_ROOT/pyproject.toml"; }

# venv_is_ready EXTRAS: was it installed from today's pyproject.toml? dev includes train.
venv_is_ready() {
    local venv="$EDGEAILITE_ROOT/.venv" stamp now
    [ -x "$venv/bin/python" ] && [ ! -e "$venv/installing" ] || return 1
    now="$(checksum)"
    for stamp in "$venv/installed-"*; do
        case "$stamp" in *"-$1" | *"-$1,"*) ;; *-dev) [ "$1" = train ] || continue ;; *) continue ;; esac
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && "$venv/bin/python" -c '' 2>/dev/null && return 0
    done
    return 1
}

# Leaves .venv with a working interpreter and pip; starts over when an earlier set-up was cut off.
make_venv() {
    local venv="$EDGEAILITE_ROOT/.venv" python other
    if [ -e "$venv/installing" ]; then
        other="$(cat "$venv/installing")"
        if [ -n "$other" ] && [ "$other" != "$$" ] && kill -0 "$other" 2>/dev/null; then
            fail "process $other is setting up $venv: wait for it, or remove that folder if it is another program"
        fi
        say "an earlier set-up of $venv was cut off: starting over"
        rm -rf -- "$venv"
    fi
    if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python"; then
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null 2>&1 ||
            fail "$venv has no pip: remove that folder and run this again"
        printf '%s' "$$" >"$venv/installing" || fail "cannot write to $venv"
        return
    fi
    python="$(find_python)" || exit 1
    rm -rf -- "$venv" && mkdir "$venv" 2>/dev/null ||
        fail "cannot make $venv: make the folder writable, or activate an environment in which 'pip install $EDGEAILITE_ROOT' was run"
    printf '%s' "$$" >"$venv/installing"
    say "making $venv with $("$python" --version)"
    "$python" -m venv "$venv" >"$venv/log" 2>&1 || {
        tail -n 3 "$venv/log" >&2
        fail "$python cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv"
    }
}

# PyTorch's builds without CUDA (0.2 GB); on PyPI those for Linux bring CUDA along (6 GB).
TORCH_INDEX="${EDGEAILITE_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
NVIDIA_DRIVER=/proc/driver/nvidia/version  # there while the driver is loaded
PATIENCE=5                                 # seconds for the index's first answer

has_nvidia() { [ -e "$NVIDIA_DRIVER" ] || nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# answers PYTHON URL: does a server give an answer of any kind within seconds?
answers() {
    "$1" -c '
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2]))
except urllib.error.HTTPError:
    pass
except OSError:
    sys.exit(1)' "$2" "$PATIENCE" 2>/dev/null
}

# torch_of PYTHON: what pyproject.toml asks for of torch and torchvision, one per line.
torch_of() {
    "$1" -c '
import re, sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
lines = [*project["dependencies"], *sum(project.get("optional-dependencies", {}).values(), [])]
print("\n".join(dict.fromkeys(line for line in lines if re.match(r"torch(vision)?\b", line))))' "$EDGEAILITE_ROOT/pyproject.toml"
}

# install_torch CHOICE PIP ...: installs torch without CUDA, where that was asked for (cpu) or there is no NVIDIA driver ("").
# With `cuda`, with a driver, and outside Linux, where no build has CUDA, it leaves torch to the package index.
install_torch() {
    local choice="$1" torch=() line
    shift
    if [ -z "$choice" ]; then
        if [ "$(uname -s)" != Linux ] || has_nvidia; then return; fi
        say "no NVIDIA driver is loaded: torch without CUDA (0.2 GB instead of 6); --cuda takes the other"
        answers "$1" "$TORCH_INDEX/torch/" || {
            say "$TORCH_INDEX cannot be reached: torch is taken from the package index, with CUDA (6 GB)"
            return
        }
    elif [ "$choice" = cuda ]; then
        return
    fi
    while IFS= read -r line; do torch+=("$line"); done < <(torch_of "$1")
    say "installing ${torch[*]} from $TORCH_INDEX"
    "$@" --index-url "$TORCH_INDEX" "${torch[@]}" >&2 && return
    [ -z "$choice" ] || fail "pip could not install torch from $TORCH_INDEX (see above): check the network, or leave out --cpu"
    say "that failed: torch is taken from the package index, with CUDA (6 GB)"
}

# install EXTRA CHOICE: the package itself (editable) and what it needs; CHOICE as for install_torch.
install() {
    local venv="$EDGEAILITE_ROOT/.venv" quiet=()
    [ -t 2 ] || quiet=(--quiet)
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install ${quiet[@]+"${quiet[@]}"})
    install_torch "$2" "${pip[@]}"
    say "installing edgeailite${1:+[$1]}: this takes minutes the first time"
    (cd -- "$EDGEAILITE_ROOT" && "${pip[@]}" --editable ".${1:+[$1]}" >&2) ||
        fail "pip could not install edgeailite (see above): check the network and the disk space, then run this again"
    if [ "$1" = dev ]; then
        install_alone "$venv/bin/python" || fail "pip could not install $ALONE (see above): check the network, then run this again"
    fi
    checksum >"$venv/installed-$1"
    rm -f -- "$venv/installing"
}

# setup_python EXTRA CHOICE: sets PYTHON. EXTRA is "" or the name of an extra in pyproject.toml; CHOICE is "cpu", "cuda" or "".
setup_python() {
    local extra="${1:-}" choice="${2:-}" active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" python begin=$SECONDS
    local venv="$EDGEAILITE_ROOT/.venv"
    if [ -n "$active" ] && ! [ "$active" -ef "$venv" ] && can_run "$active/bin/python" "$extra" "the active environment $active"; then
        PYTHON="$active/bin/python"
    elif venv_is_ready "$extra"; then
        PYTHON="$venv/bin/python"
    elif python="$(find_python 2>/dev/null)" && ! [ -e "$venv" ] && can_run "$python" "$extra"; then
        PYTHON="$python"
    else
        make_venv
        install "$extra" "$choice"
        PYTHON="$venv/bin/python"
        say "set-up took $((SECONDS - begin)) s: $venv"
    fi
    # This checkout, and no other copy that the environment may hold.
    export PYTHONPATH="$EDGEAILITE_ROOT${PYTHONPATH:+:$PYTHONPATH}"
}

usage() {
    cat <<'HELP'
usage: tools/setup.sh [--cpu | --cuda] [EXTRA]

Finds a Python that has everything edgeailite needs, or makes .venv in the repository root and installs it there;
prints the interpreter. EXTRA is one of pyproject.toml's beside train: openvino, tflite, tensorboard, weights, ray, bench,
dev.
A second run does nothing.

When installing on Linux without an NVIDIA driver, torch and torchvision come from https://download.pytorch.org/whl/cpu
(0.2 GB) instead of PyPI, whose Linux builds bring the CUDA libraries along (.venv then has 6 GB). Where that address
cannot be reached, they come from PyPI after all. An environment that exists already stays as it is.

  --cpu    from that address in any case, or an error
  --cuda   from PyPI in any case

EDGEAILITE_TORCH_INDEX names another address of builds without CUDA, such as a mirror.
HELP
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    choice=""
    extra=""
    for argument in "$@"; do
        case "$argument" in
            --help | -h) usage; exit 0 ;;
            --cpu | --cuda) choice="${argument#--}" ;;
            -*) say "error: unknown flag $argument"; usage >&2; exit 2 ;;
            *) extra="$argument" ;;
        esac
    done
    if [ -n "$extra" ] && ! grep -q "^$extra = \[" "$EDGEAILITE_ROOT/pyproject.toml"; then
        say "error: unknown extra $extra; there are openvino, tflite, tensorboard, weights, ray, bench, dev"
        exit 2
    fi
    [ "$extra" = dev ] || extra="train${extra:+,$extra}"
    setup_python "$extra" "$choice"
    printf '%s\n' "$PYTHON"
fi
