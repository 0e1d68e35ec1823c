#!/usr/bin/env bash
# Runs check_BOARD.elf on the emulated board, with the program's exit code: run.sh BOARD.
# Boards: an386 (Cortex-M4), an547 (Cortex-M55). TOOLS is the folder of tools/microcontrollers.sh.
set -euo pipefail

case "${1:-}" in
    an386) machine=mps2-an386 ;;
    an547) machine=mps3-an547 ;;
    *) sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
exec "$TOOLS/qemu-system-arm" -M "$machine" -nographic -monitor none -serial none -semihosting-config enable=on,target=native \
    -kernel "check_$1.elf"
