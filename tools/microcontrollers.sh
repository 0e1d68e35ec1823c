#!/usr/bin/env bash
# Makes what examples/tflite_micro is built and run with on a machine without any of it:
#   tools/microcontrollers.sh FOLDER      (200 MB of downloads, 1.5 GB on disk, some minutes); does nothing where it is
#   FOLDER/include, FOLDER/lib            TensorFlow Lite Micro's headers, and its interpreter for this machine
#   FOLDER/arm-none-eabi-gcc, -g++, -size the compiler for Cortex-M, with newlib
#   FOLDER/qemu-system-arm                boards with a Cortex-M
#
# TensorFlow Lite Micro is that of XMOS' package xmos-ai-tools, which calls its namespace tflite_micro. gemmlowp's
# headers, the compiler and QEMU are Debian's. Nothing is installed outside FOLDER. Needs x86-64 Debian or Ubuntu with
# apt-get, dpkg-deb and glibc of 2.36 or newer, and Python with pip. MIRROR= names another Debian archive.
set -euo pipefail

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ $# = 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for tool in apt-get dpkg-deb; do command -v $tool >/dev/null || fail "$tool is missing: the tools are made of Debian packages"; done
[ "$(uname -m)" = x86_64 ] || fail "this machine is $(uname -m): the tools are made for x86-64"

mkdir -p -- "$1"
folder="$(cd -- "$1" && pwd)"
python="${PYTHON:-python3}"
made="xmos-ai-tools 1.4.2, bookworm"
if [ -e "$folder/made" ] && [ "$(cat "$folder/made")" = "$made" ]; then exit 0; fi
rm -rf -- "${folder:?}"/{apt,debian,wheel,include,lib,made}
mkdir -p "$folder"/{apt/lists/partial,apt/cache/archives/partial,debian,wheel,include,lib}

mirror="${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | grep debian | head -n 1 || true)}"
mirror="${mirror:-http://deb.debian.org/debian}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || fail "$keyring is missing: apt-get install debian-archive-keyring"

# An apt of our own, which knows nothing of this machine's: it fetches all that the packages depend on.
own="$folder/apt"
echo "deb [signed-by=$keyring] $mirror bookworm main" >"$own/sources.list"
: >"$own/status"
apt=(apt-get -qq -y -o "Dir::Etc::sourcelist=$own/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$own/lists"
    -o "Dir::Cache=$own/cache" -o "Dir::State::status=$own/status" -o APT::Architecture=amd64 -o APT::Architectures=amd64
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false)
# The C++ library itself (300 MB) is not needed, its headers are.
packages=(gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-dev libgemmlowp-dev qemu-system-arm)
"${apt[@]}" update && "${apt[@]}" install --download-only "${packages[@]}" >/dev/null ||
    fail "$mirror: cannot fetch ${packages[*]}: check the network, or name an archive with MIRROR="
for package in "$own"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/debian"; done
rm -rf -- "$own"

"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
    --platform manylinux2014_x86_64 --dest "$folder/wheel" xmos-ai-tools==1.4.2 || fail "pip cannot download xmos-ai-tools 1.4.2"
"$python" -m zipfile -e "$folder"/wheel/*.whl "$folder/wheel"
cp -r "$folder"/wheel/xmos_ai_tools/runtime/include/{tensorflow,flatbuffers,signal} "$folder"/debian/usr/include/gemmlowp/{fixedpoint,internal} \
    "$folder/include"
cp "$folder/wheel/xmos_ai_tools/xinterpreters/libs/linux"/xtflm_python.so* "$folder/lib"
rm -rf -- "$folder/wheel"
# The kernels' headers name a profiler, which does nothing unless it is asked for.
mkdir -p "$folder/include/ruy/profiler"
cat >"$folder/include/ruy/profiler/instrumentation.h" <<'HEADER'
#pragma once
namespace ruy {
namespace profiler {
struct ScopeLabel {
    template <class... Words> explicit ScopeLabel(Words...) {}
};
} // namespace profiler
} // namespace ruy
HEADER

# The compiler looks for newlib beside itself; its own libraries come with it, this machine's C library runs it.
arm="$folder/debian/usr/lib/arm-none-eabi"
ln -s newlib "$arm/lib"
ln -s ../../include/newlib "$arm/include"
for name in isl mpc mpfr gmp zstd z jansson; do
    find "$folder/debian" -name "lib$name.so.*" ! -name '*.py' -exec cp -P {} "$folder/lib" \;
done
for tool in gcc g++ size; do
    cat >"$folder/arm-none-eabi-$tool" <<SCRIPT
#!/usr/bin/env bash
LD_LIBRARY_PATH="$folder/lib" exec "$folder/debian/usr/bin/arm-none-eabi-$tool" "\$@"
SCRIPT
done
libraries="$folder/debian/lib/x86_64-linux-gnu:$folder/debian/usr/lib/x86_64-linux-gnu:$folder/debian/usr/lib/x86_64-linux-gnu/pulseaudio"
cat >"$folder/qemu-system-arm" <<SCRIPT
#!/usr/bin/env bash
exec "$folder/debian/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "$folder/debian/usr/bin/qemu-system-arm" \\
    -L "$folder/debian/usr/share/qemu" "\$@"
SCRIPT
chmod +x "$folder"/arm-none-eabi-* "$folder/qemu-system-arm"
"$folder/arm-none-eabi-gcc" --version | head -n 1
"$folder/qemu-system-arm" --version | head -n 1
printf '%s' "$made" >"$folder/made"
