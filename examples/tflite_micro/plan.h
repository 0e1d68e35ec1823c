/* Places for a network's tensors: constants stay in the file, the others share an arena. */
#ifndef PLAN_H
#define PLAN_H

#include "tensorflow/lite/schema/schema_generated.h"

#include <cstddef>

/* False, with a line printed, where the arena or the table of tensors is too small. */
bool plan(const tflite::Model *model);

void *data_of(int tensor);
size_t bytes_of(int tensor);

/* Bytes of the arena that are in use. */
size_t planned_bytes();

#endif
