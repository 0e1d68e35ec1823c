/* Sums that every value of an output is part of, with random factors, so that nothing is wrong unseen: sum b has the values
 * b, b + sums, b + 2 sums, ... C99 and C++. */
#ifndef GOLDEN_SUMS_H
#define GOLDEN_SUMS_H

#include "golden_case.h"

#include <math.h>

/* SplitMix64 (Steele, Lea and Flood, 2014) of a place, as a number of mean 0 and variance 1. */
static double golden_factor(unsigned long long seed, size_t place) {
    unsigned long long z = seed + (place + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return ((double)(z >> 40) / 8388608.0 - 1.0) * 1.7320508075688772;
}

/* The first sum that departs by more than `gap`; -1 if none does. */
static int golden_sums_depart(const struct golden_output *expected, const float *found) {
    for (int b = 0; b < expected->sums; b++) {
        double total = 0;
        size_t count = 0;
        for (size_t i = (size_t)b; i < expected->size; i += (size_t)expected->sums, count++)
            total += golden_factor(expected->seed, i) * found[i];
        if (count && !(fabs(total / sqrt((double)count) - expected->sum[b]) <= expected->gap)) return b;
    }
    return -1;
}

#endif
