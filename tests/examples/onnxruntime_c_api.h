/* The part of onnxruntime's C API (MIT) that examples/c/run.c uses, for the tests alone: Python's package of onnxruntime
 * brings the library and no header. The order of functions is part of the interface and never changes; the numbers are
 * those of the header of version 1.21 (ORT_API_VERSION 21). Devices use the header of their own release. */
#ifndef ONNXRUNTIME_C_API_H
#define ONNXRUNTIME_C_API_H

#include <stddef.h>
#include <stdint.h>

enum { ORT_API_VERSION = 21 };
enum { ORT_LOGGING_LEVEL_ERROR = 3, OrtArenaAllocator = 1, OrtMemTypeDefault = 0, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };
typedef struct OrtEnv OrtEnv;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtSession OrtSession;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;
typedef struct OrtStatus OrtStatus;
typedef struct OrtModelMetadata OrtModelMetadata;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;

typedef struct OrtApi {
    void *slots_0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(int level, const char *name, OrtEnv **out);
    void *slots_4[3];
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **out);
    void *slots_8[1];
    OrtStatus *(*Run)(OrtSession *, const void *options, const char *const *input_names, const OrtValue *const *inputs,
                      size_t, const char *const *output_names, size_t, OrtValue **outputs);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **out);
    void *slots_11[19];
    OrtStatus *(*SessionGetInputCount)(const OrtSession *, size_t *out);
    OrtStatus *(*SessionGetOutputCount)(const OrtSession *, size_t *out);
    void *slots_32[4];
    OrtStatus *(*SessionGetInputName)(const OrtSession *, size_t, OrtAllocator *, char **out);
    OrtStatus *(*SessionGetOutputName)(const OrtSession *, size_t, OrtAllocator *, char **out);
    void *slots_38[11];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int, OrtValue **out);
    void *slots_50[1];
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **out);
    void *slots_52[12];
    OrtStatus *(*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo *, size_t *out);
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **out);
    void *slots_66[3];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **out);
    void *slots_70[6];
    OrtStatus *(*AllocatorFree)(OrtAllocator *, void *);
    void *slots_77[1];
    OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **out);
    void *slots_79[13];
    void (*ReleaseEnv)(OrtEnv *);
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    void *slots_97[2];
    void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
    void *slots_101[10];
    OrtStatus *(*SessionGetModelMetadata)(const OrtSession *, OrtModelMetadata **out);
    void *slots_112[4];
    OrtStatus *(*ModelMetadataLookupCustomMetadataMap)(const OrtModelMetadata *, OrtAllocator *, const char *, char **out);
    void *slots_117[1];
    void (*ReleaseModelMetadata)(OrtModelMetadata *);
    void *slots_119[11];
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *key, const char *value);
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

#ifdef __cplusplus
extern "C"
#endif
const OrtApiBase *OrtGetApiBase(void);

#endif
