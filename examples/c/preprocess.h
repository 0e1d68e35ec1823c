/* From a picture to the network's input, bit for bit as edgeailite/preprocessing.py. C99 and C++. */
#ifndef PREPROCESS_H
#define PREPROCESS_H

#include "golden_case.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Resizes (height, width, 3) bytes as OpenCV's INTER_LINEAR_EXACT does. Returns 0, or -1 without memory. */
int resize_linear_exact(const unsigned char *from, int height, int width, unsigned char *to, int new_height, int new_width);

/* `input` takes 3 * height * width floats, planes in the network's order. Returns 0, or -1 without memory. */
int preprocess(const struct preprocessing *how, const unsigned char *picture, int height, int width, float *input);

#ifdef __cplusplus
}
#endif
#endif
