#!/usr/bin/env bash
# Format, lint and types, as CI asks for them. Changes nothing; `tools/check.sh --fix` formats and repairs first.
set -euo pipefail

# shellcheck source=tools/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
case "${1:-}" in
    "") fix="" ;;
    --fix) fix=yes ;;
    *) fail "unknown argument $1; usage: tools/check.sh [--fix]" ;;
esac
setup_python dev
cd -- "$EDGEAILITE_ROOT"

if [ -n "$fix" ]; then
    "$PYTHON" -m ruff check --fix-only .
    "$PYTHON" -m ruff format .
fi
failed=""
"$PYTHON" -m ruff format --check . || failed="$failed format"
"$PYTHON" -m ruff check . || failed="$failed lint"
"$PYTHON" -m mypy || failed="$failed types"
[ -z "$failed" ] || fail "check failed:$failed (tools/check.sh --fix repairs what a machine can)"
