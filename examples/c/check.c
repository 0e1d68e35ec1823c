/* Runs the golden pictures of a contract (golden.h) through the preprocessing, and through a file where onnxruntime is
 * compiled in (-DWITH_ONNXRUNTIME). Exit code 4, as of `edgeailite verify`, when anything differs. */
#include "golden.h"
#include "golden_sums.h"
#include "preprocess.h"
#include "run.h"
#include "sha256.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int differs(const char *what, int number, const void *data, size_t size, const char *expected) {
    char found[65];
    sha256(data, size, found);
    if (strcmp(found, expected) == 0) return 0;
    printf("case %d, %s: sha256 %.16s..., expected %.16s...\n", number, what, found, expected);
    return 1;
}

static int output_departs(int number, const struct golden_output *expected, const float *found, size_t size) {
    if (size != expected->size) {
        printf("case %d, %s: %zu values, expected %zu\n", number, expected->name, size, expected->size);
        return 1;
    }
    if (GOLDEN_INT8) return differs(expected->name, number, found, size * sizeof *found, expected->sha256);
    for (int i = 0; i < expected->values; i++) {
        const struct golden_value *value = &expected->value[i];
        if (!(fabsf(found[value->at] - value->value) <= expected->gap)) {
            printf("case %d, %s: value %zu is %g, expected %g within %g\n", number, expected->name, value->at,
                   found[value->at], value->value, expected->gap);
            return 1;
        }
    }
    const int sum = golden_sums_depart(expected, found);
    if (sum >= 0) printf("case %d, %s: sum %d of all values departs\n", number, expected->name, sum);
    return sum >= 0;
}

/* Returns how many inputs and outputs of a case differ, -1 without memory or when the file cannot be run. */
static int check(int number, const struct golden_case *golden, struct network *network) {
    const size_t size = (size_t)3 * GOLDEN_PREPROCESSING.height * GOLDEN_PREPROCESSING.width;
    float *inputs = malloc(size * golden->inputs * sizeof *inputs);
    int bad = inputs ? 0 : -1;
    for (int i = 0; bad >= 0 && i < golden->inputs; i++) {
        const struct golden_input *input = &golden->input[i];
        float *to = inputs + i * size;
        if (preprocess(&GOLDEN_PREPROCESSING, input->picture, input->height, input->width, to)) bad = -1;
        else bad += differs("input", number, to, size * sizeof *to, input->sha256);
    }
    if (bad == 0 && network && run(network, inputs, golden->inputs)) bad = -1;
    for (int i = 0; bad >= 0 && network && i < golden->outputs; i++) {
        size_t found = 0;
        const float *values = output(network, golden->output[i].name, &found);
        bad += output_departs(number, &golden->output[i], values, found);
    }
    free(inputs);
    return bad;
}

int main(int count, char **words) {
    struct network *network = NULL;
    int bad = 0, wrong = 0;
    if (count == 2) {
        network = open_network(words[1], GOLDEN_PREPROCESSING.height, GOLDEN_PREPROCESSING.width);
        if (!network) return 3;
    } else if (count > 2) {
        fprintf(stderr, "usage: check [MODEL.onnx]\n");
        return 2;
    }
    for (int i = 0; bad >= 0 && i < GOLDEN_CASES; i++) {
        bad = check(i, &GOLDEN[i], network);
        wrong += bad > 0 ? bad : 0;
    }
    close_network(network);
    if (bad < 0) return 3;
    printf("%d golden case(s): preprocessing%s %s\n", GOLDEN_CASES, network ? " and outputs" : "", wrong ? "DIFFER" : "agree");
    return wrong ? 4 : 0;
}
