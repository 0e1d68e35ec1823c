/* Runs the golden pictures of model_int8.h and compares every byte of the answers. Exit code 4, as of
 * `edgeailite verify`, when anything differs, and 3 when the network cannot run. */
#include "model_int8.h"
#include "run.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

/* CRC-32 of zlib, bit by bit: no table. */
static uint32_t crc32(const void *data, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= static_cast<const unsigned char *>(data)[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static bool differs(int number, const model_int8_tensor &expected, const void *data, size_t size) {
    if (size != expected.size) {
        printf("case %d, %s: %u bytes, expected %u\n", number, expected.name, unsigned(size), unsigned(expected.size));
        return true;
    }
    const unsigned char *found = static_cast<const unsigned char *>(data);
    size_t count = 0, first = size;
    for (size_t i = size; i-- > 0;) {
        if (found[i] == expected.data[i]) continue;
        count++;
        first = i;
    }
    printf("case %d, %s: crc32 %08x, expected %08x", number, expected.name, unsigned(crc32(data, size)),
           unsigned(expected.crc32));
    if (count) printf(", %u of %u bytes differ, first %u", unsigned(count), unsigned(size), unsigned(first));
    printf("\n");
    return count != 0;
}

int main() {
    if (!start()) return 3;
    bool wrong = false;
    for (int number = 0; number < MODEL_INT8_GOLDEN; number++) {
        for (size_t i = 0; i < MODEL_INT8_INPUTS; i++) {
            const model_int8_tensor &picture = model_int8_golden_inputs[number][i];
            size_t size;
            void *place = input(i, &size);
            if (size != picture.size) {
                printf("case %d, %s: %u bytes, expected %u\n", number, picture.name, unsigned(size),
                       unsigned(picture.size));
                return 3;
            }
            memcpy(place, picture.data, size);
        }
        if (!run()) return 3;
        for (size_t i = 0; i < MODEL_INT8_OUTPUTS; i++) {
            size_t size;
            const void *data = output(i, &size);
            wrong |= differs(number, model_int8_golden_outputs[number][i], data, size);
        }
    }
    printf("%d golden cases: %s; arena %u bytes\n", MODEL_INT8_GOLDEN, wrong ? "DIFFER" : "equal",
           unsigned(arena_used()));
    return wrong ? 4 : 0;
}
