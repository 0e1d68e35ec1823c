/* The network in TensorFlow Lite Micro's interpreter, with the operators that its file has and no others. */
#include "model_int8.h"
#include "run.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include <cstdio>

#ifndef ARENA_BYTES /* arena_used() says how many are enough */
#define ARENA_BYTES (MODEL_INT8_LIVE_BYTES * 3 / 2 + 256 * 1024)
#endif

alignas(16) static uint8_t arena[ARENA_BYTES];
static tflite::MicroMutableOpResolver<MODEL_INT8_OPERATOR_COUNT> operators;
static tflite::MicroInterpreter *interpreter;

bool start() {
    if (ARENA_BYTES < MODEL_INT8_LIVE_BYTES) { /* TFLM may crash in an arena of a few KB, before it can say so */
        printf("the tensors alone need %u bytes: compile with a larger ARENA_BYTES than %u\n",
               unsigned(MODEL_INT8_LIVE_BYTES), unsigned(ARENA_BYTES));
        return false;
    }
    tflite::InitializeTarget();
    const tflite::Model *model = tflite::GetModel(model_int8);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        printf("the file has schema version %u, this runtime %u\n", unsigned(model->version()),
               unsigned(TFLITE_SCHEMA_VERSION));
        return false;
    }
#define ADD(method) operators.Add##method();
    MODEL_INT8_OPERATORS(ADD)
#undef ADD
    static tflite::MicroInterpreter only(model, operators, arena, ARENA_BYTES);
    interpreter = &only;
    if (interpreter->AllocateTensors() == kTfLiteOk) return true;
    printf("AllocateTensors failed: if it asks for more bytes, compile with a larger ARENA_BYTES than %u\n",
           unsigned(ARENA_BYTES));
    return false;
}

void *input(size_t index, size_t *size) {
    TfLiteTensor *tensor = interpreter->input(index);
    *size = tensor->bytes;
    return tensor->data.raw;
}

const void *output(size_t index, size_t *size) {
    const TfLiteTensor *tensor = interpreter->output(index);
    *size = tensor->bytes;
    return tensor->data.raw;
}

bool run() {
    if (interpreter->Invoke() == kTfLiteOk) return true;
    printf("Invoke failed\n");
    return false;
}

size_t arena_used() {
    return interpreter->arena_used_bytes();
}
