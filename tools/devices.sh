#!/usr/bin/env bash
# Makes emulated devices: processors that this machine lacks, each with a Python that has numpy and onnxruntime.
#   tools/devices.sh FOLDER          makes them (160 MB of downloads, 700 MB on disk, a minute); does nothing where they are
#   FOLDER/aarch64 CPU ARGUMENTS     runs that Python on cortex-a53, cortex-a72, cortex-a76, neoverse-n2 or max
#   FOLDER/x86_64 CPU ARGUMENTS      runs $PYTHON (python3) on Haswell-noTSX (AVX2, no VNNI) or Nehalem (no AVX)
# For example: FOLDER/aarch64 cortex-a72 -m edgeailite verify model_int8.onnx contract_int8.json
#
# Needs x86-64 Debian or Ubuntu with apt-get and dpkg-deb, Python with pip, and their package archives. Nothing is
# installed outside FOLDER. QEMU is taken from Debian 13, because version 7 of Debian 12 shows its guest the host's
# /proc/cpuinfo, which onnxruntime for Arm cannot parse.
# ONNXRUNTIME= and NUMPY= choose versions (default: those of $PYTHON); MIRROR= a Debian archive.
set -euo pipefail

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ $# = 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for tool in apt-get dpkg-deb; do command -v $tool >/dev/null || fail "$tool is missing: emulated devices are made of Debian packages"; done
[ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m): the devices are made for x86-64 hosts"

mkdir -p -- "$1"
folder="$(cd -- "$1" && pwd)"
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
version() { "$python" -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' "$1" 2>/dev/null || fail "$python has no $1: set PYTHON, or $2="; }
ort="${ONNXRUNTIME:-$(version onnxruntime ONNXRUNTIME)}"
numpy="${NUMPY:-$(version numpy NUMPY)}"
made="onnxruntime $ort, numpy $numpy"
if [ -e "$folder/made" ] && [ "$(cat "$folder/made")" = "$made" ]; then exit 0; fi
rm -rf -- "${folder:?}"/{apt-amd64,apt-arm64,packages,wheels,arm,site,qemu,made}
mkdir -p "$folder"/{packages,wheels,arm,site,qemu}

mirror="${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | grep debian | head -n 1 || true)}"
mirror="${mirror:-http://deb.debian.org/debian}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || fail "$keyring is missing: apt-get install debian-archive-keyring"

# fetch ARCHITECTURE SUITE PACKAGES: with an apt of our own, which knows nothing of this machine's.
fetch() {
    local own="$folder/apt-$1" architecture="$1" suite="$2"
    shift 2
    mkdir -p "$own"/{lists/partial,cache/archives/partial}
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$own/sources.list"
    : >"$own/status"
    local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$own/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$own/lists"
        -o "Dir::Cache=$own/cache" -o "Dir::State::status=$own/status" -o "APT::Architecture=$architecture"
        -o "APT::Architectures=$architecture" -o APT::Sandbox::User=root)
    "${apt[@]}" update && (cd -- "$folder/packages" && "${apt[@]}" download "$@") ||
        fail "$mirror $suite: cannot fetch $1 ... for $architecture: check the network, or name an archive with MIRROR="
    rm -rf -- "$own"
}
fetch amd64 trixie qemu-user
fetch arm64 bookworm python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6 libgomp1 \
    zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libsqlite3-0 libcrypt1 libuuid1 libdb5.3 libreadline8 libtinfo6 libncursesw6
for package in "$folder"/packages/*_arm64.deb; do dpkg-deb -x "$package" "$folder/arm"; done
dpkg-deb -x "$folder"/packages/qemu-user_*_amd64.deb "$folder/qemu"

download() { "$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: -d "$folder/wheels" "$@" || fail "pip cannot download $*"; }
arm_wheels=(--python-version 3.11 --implementation cp)
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do arm_wheels+=(--platform "${tag}_aarch64"); done
download "${arm_wheels[@]}" "numpy==$numpy" "onnxruntime==$ort" protobuf
download flatbuffers packaging
for wheel in "$folder"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$folder/site"; done
rm -rf -- "$folder/packages" "$folder/wheels"

cat >"$folder/aarch64" <<SCRIPT
#!/usr/bin/env bash
cpu=\$1; shift
PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH="\${CHECKOUT:-$root}:$folder/site" \\
    exec "$folder/qemu/usr/bin/qemu-aarch64" -L "$folder/arm" -cpu "\$cpu" "$folder/arm/usr/bin/python3.11" "\$@"
SCRIPT
cat >"$folder/x86_64" <<SCRIPT
#!/usr/bin/env bash
cpu=\$1; shift
if [ "\$cpu" = Nehalem ]; then export OPENBLAS_CORETYPE=Nehalem; fi
PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH="\${CHECKOUT:-$root}" \\
    exec "$folder/qemu/usr/bin/qemu-x86_64" -cpu "\$cpu" "\$(command -v "\${PYTHON:-python3}")" "\$@"
SCRIPT
chmod +x "$folder/aarch64" "$folder/x86_64"
"$folder/aarch64" cortex-a53 -c 'import numpy, onnxruntime; print("aarch64: numpy", numpy.__version__, "onnxruntime", onnxruntime.__version__)'
printf '%s' "$made" >"$folder/made"
