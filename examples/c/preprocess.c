/* Twin of edgeailite/preprocessing.py: the resize is integers, but for the weights of an axis, which are found once.
 * Compile with -ffp-contract=off: a fused multiply-add would round those weights otherwise. */
#include "preprocess.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTION_BITS = 8, ONE = 1 << FRACTION_BITS };

struct tap {
    int first, second;
    uint32_t weight; /* of the second, in 1/256 */
};

static struct tap *axis(int size, int new_size) {
    struct tap *taps = malloc((size_t)new_size * sizeof *taps);
    const double step = 1.0 / ((double)new_size / size); /* as OpenCV rounds it; size / new_size may be the next double */
    for (int i = 0; taps && i < new_size; i++) {
        const double centre = step * (i + 0.5) - 0.5;
        const int first = (int)floor(centre);
        const int inside = first >= 0 && first < size - 1;
        taps[i].weight = inside ? (uint32_t)rint((centre - first) * ONE) : 0;
        taps[i].first = first < 0 ? 0 : first > size - 1 ? size - 1 : first;
        taps[i].second = taps[i].first + 1 < size ? taps[i].first + 1 : size - 1;
    }
    return taps;
}

static uint32_t across(const unsigned char *row, const struct tap *tap, int channel) {
    return row[3 * tap->first + channel] * (ONE - tap->weight) + row[3 * tap->second + channel] * tap->weight;
}

int resize_linear_exact(const unsigned char *from, int height, int width, unsigned char *to, int new_height, int new_width) {
    if (height == new_height && width == new_width) {
        memcpy(to, from, (size_t)3 * height * width);
        return 0;
    }
    struct tap *columns = axis(width, new_width), *rows = axis(height, new_height);
    for (int y = 0; columns && rows && y < new_height; y++) {
        const unsigned char *top = from + (size_t)3 * width * rows[y].first;
        const unsigned char *bottom = from + (size_t)3 * width * rows[y].second;
        for (int x = 0; x < new_width; x++) {
            for (int c = 0; c < 3; c++) {
                const uint32_t total = across(top, &columns[x], c) * (ONE - rows[y].weight) +
                                       across(bottom, &columns[x], c) * rows[y].weight;
                *to++ = (unsigned char)((total + ONE * ONE / 2) / (ONE * ONE));
            }
        }
    }
    const int done = columns && rows;
    free(columns);
    free(rows);
    return done ? 0 : -1;
}

int preprocess(const struct preprocessing *how, const unsigned char *picture, int height, int width, float *input) {
    const size_t pixels = (size_t)how->height * how->width;
    unsigned char *resized = malloc(3 * pixels);
    if (!resized || resize_linear_exact(picture, height, width, resized, how->height, how->width)) {
        free(resized);
        return -1;
    }
    for (int c = 0; c < 3; c++) {
        const unsigned char *from = resized + (how->is_bgr ? 2 - c : c);
        for (size_t i = 0; i < pixels; i++) {
            input[c * pixels + i] = ((float)from[3 * i] - how->mean[c]) * how->scale[c];
        }
    }
    free(resized);
    return 0;
}
