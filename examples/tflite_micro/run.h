/* What check.cc asks of a runtime; run_micro.cc and run_kernels.cc answer. Errors print a line. */
#ifndef RUN_H
#define RUN_H

#include <cstddef>

/* Makes the network of model_int8.h ready to run. */
bool start();

/* Where the bytes of an input go, and those of an output come from; size tells how many there are. */
void *input(size_t index, size_t *size);
const void *output(size_t index, size_t *size);

bool run();

/* Bytes of the arena that were needed. */
size_t arena_used();

#endif
