/* An ONNX file, run by onnxruntime; without -DWITH_ONNXRUNTIME none can be opened. Replace run.c by your own runtime. */
#ifndef RUN_H
#define RUN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct network;

/* NULL, with a line on stderr, when it cannot be opened. */
struct network *open_network(const char *path, int height, int width);

/* Inputs are planes (3, height, width), one picture behind the other. Returns 0, or -1 with a line on stderr. */
int run(struct network *network, float *inputs, int count);

/* The last result of that name and its number of values; NULL and 0 where there is no such output. */
const float *output(const struct network *network, const char *name, size_t *size);

void close_network(struct network *network);

#ifdef __cplusplus
}
#endif
#endif
