#!/usr/bin/env bash
# Builds the source distribution and the wheel, and checks what a package index and a user would see of them: metadata,
# that every file of the package is in both, and that the wheel runs where nothing of this checkout is.
# usage: tools/package.sh [FOLDER]     FOLDER (default dist) gets the two files. Needs a package index for build and twine.
set -euo pipefail
unset PYTHONPATH # pip would find this checkout there, and install nothing

# shellcheck source=tools/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
case "${1:-}" in
    -*) printf 'usage: tools/package.sh [FOLDER]\n'; [ "$1" = --help ] || [ "$1" = -h ] || exit 2; exit 0 ;;
esac
mkdir -p -- "${1:-dist}"
folder="$(cd -- "${1:-dist}" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
python="$(find_python)"
cd -- "$EDGEAILITE_ROOT"

say "build and twine, in an environment of their own"
"$python" -m venv "$work/tools"
"$work/tools/bin/python" -m pip --disable-pip-version-check install --quiet build twine

# A copy of what git knows: no stray file gets in, and setuptools leaves its folders there.
git ls-files -z | tar --create --null --files-from=- --file=- | tar --extract --directory "$(mkdir "$work/tree" && printf '%s' "$work/tree")"
"$work/tools/bin/python" -m build --outdir "$work/dist" "$work/tree" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "the build failed"; }
"$work/tools/bin/python" -m twine check --strict "$work"/dist/*

git ls-files edgeailite >"$work/files"
"$work/tools/bin/python" - "$work" <<'PYTHON'
import pathlib, sys, tarfile, zipfile
work = pathlib.Path(sys.argv[1])
files = set(work.joinpath("files").read_text().split("\n")) - {""}
[wheel], [source] = work.glob("dist/*.whl"), work.glob("dist/*.tar.gz")
held = {"wheel": set(zipfile.ZipFile(wheel).namelist())}
held["source distribution"] = {name.partition("/")[2] for name in tarfile.open(source).getnames()}
for name, names in held.items():
    if lost := sorted(files - names):
        sys.exit(f"error: the {name} lacks {', '.join(lost[:5])}: name their kind under package-data in pyproject.toml")
    print(f"{name}: all {len(files)} files of the package")
PYTHON

say "the wheel alone, in a fresh environment"
"$python" -m venv "$work/fresh"
"$work/fresh/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps "$work"/dist/*.whl
(cd -- "$work/fresh" && env -u PYTHONPATH bin/edgeailite --version && env -u PYTHONPATH bin/edgeailite --help >/dev/null)

cp -- "$work"/dist/* "$folder"
ls -l -- "$folder"
