/* What golden.h is made of. C99 and C++. */
#ifndef GOLDEN_CASE_H
#define GOLDEN_CASE_H

#include <stddef.h>

struct preprocessing {
    int height, width;
    float mean[3], scale[3]; /* (x - mean) * scale, in the order of the network's channels */
    int is_bgr;
};

struct golden_input {
    const unsigned char *picture; /* (height, width, 3) RGB */
    int height, width;
    const char *sha256; /* of the float32 input (3, height, width), little endian */
};

struct golden_value {
    size_t at;
    float value;
};

struct golden_output {
    const char *name;
    size_t size;
    const char *sha256; /* int8 files must give these bytes */
    int values;
    const struct golden_value *value; /* float files must give these within `gap` */
    int sums;                         /* and these, of all values: see golden_sums.h; 0 in contracts of format 2 */
    const double *sum;
    unsigned long long seed;
    float gap;
};

struct golden_case {
    int inputs;
    const struct golden_input *input;
    int outputs;
    const struct golden_output *output;
};

#endif
