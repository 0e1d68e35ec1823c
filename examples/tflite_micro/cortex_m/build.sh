#!/usr/bin/env bash
# Builds check_BOARD.elf of model_int8.c for an emulated board: build.sh BOARD, in the folder of model_int8.h and .c.
# Boards: an386 (Cortex-M4), an547 (Cortex-M55). TOOLS is the folder of tools/microcontrollers.sh.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
case "${1:-}" in
    an386) cpu=(-mcpu=cortex-m4 -mfpu=fpv4-sp-d16) ;;
    an547) cpu=(-mcpu=cortex-m55) ;;
    *) sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
flags=("${cpu[@]}" -mthumb -mfloat-abi=hard -O2 -ffunction-sections -fdata-sections -Wall -Wextra)
objects="$(mktemp -d)"
trap 'rm -rf -- "$objects"' EXIT
"$TOOLS/arm-none-eabi-gcc" "${flags[@]}" -std=c11 -c model_int8.c -o "$objects/model_int8.o"
"$TOOLS/arm-none-eabi-gcc" "${flags[@]}" -std=c11 -c "$here/cortex_m/start.c" -o "$objects/start.o"
for source in check run_kernels plan; do
    "$TOOLS/arm-none-eabi-g++" "${flags[@]}" -std=c++17 -fno-exceptions -fno-rtti -Dtflite=tflite_micro -I. "-I$here" \
        -isystem "$TOOLS/include" -c "$here/$source.cc" -o "$objects/$source.o"
done
"$TOOLS/arm-none-eabi-gcc" "${cpu[@]}" -mthumb -mfloat-abi=hard -nostartfiles --specs=rdimon.specs -Wl,--gc-sections \
    "-L$here/cortex_m" -T "$1.ld" "$objects"/*.o -lm -o "check_$1.elf"
"$TOOLS/arm-none-eabi-size" "check_$1.elf"
