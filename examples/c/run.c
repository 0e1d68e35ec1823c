#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_ONNXRUNTIME
#include <onnxruntime_c_api.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

enum { MOST = 8 }; /* inputs, and outputs */

struct network {
    const OrtApi *api;
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    OrtAllocator *allocator; /* onnxruntime's own: not released */
    OrtMemoryInfo *memory;
    size_t inputs, outputs;
    char *input_names[MOST], *output_names[MOST];
    OrtValue *results[MOST];
    int height, width;
};

/* Says what went wrong; 1 if anything did. */
static int failed(const OrtApi *api, OrtStatus *status) {
    if (!status) return 0;
    fprintf(stderr, "onnxruntime: %s\n", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    return 1;
}

static int open_session(struct network *n, const char *path) {
    return failed(n->api, n->api->CreateSession(n->env, path, n->options, &n->session));
}

/* x86 with AVX2 and without VNNI cuts sums of uint8 x int8 off at 16 bits, unless the session asks for exact ones. */
static int sums_saturate(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    int avx2 = b >> 5 & 1, vnni = c >> 11 & 1;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) vnni |= a >> 4 & 1;
    return avx2 && !vnni;
#else
    return 0;
#endif
}

/* The metadata `edgeailite.session` names the setting under which integer kernels run: {} or {"key": "value"}. */
static int apply_settings(struct network *n, const char *path) {
    const OrtApi *api = n->api;
    OrtModelMetadata *metadata = NULL;
    char *text = NULL, key[64], value[64];
    if (failed(api, api->SessionGetModelMetadata(n->session, &metadata))) return 1;
    int bad = failed(api, api->ModelMetadataLookupCustomMetadataMap(metadata, n->allocator, "edgeailite.session", &text));
    int found = !bad && text && sscanf(text, " {\"%63[^\"]\": \"%63[^\"]\"", key, value) == 2;
    if (!bad && text && !found && sums_saturate()) {
        strcpy(key, "session.x64quantprecision"), strcpy(value, "1");
        found = 1;
    }
    if (found) {
        api->ReleaseSession(n->session);
        n->session = NULL;
        bad = failed(api, api->AddSessionConfigEntry(n->options, key, value)) || open_session(n, path);
    }
    if (text) bad |= failed(api, api->AllocatorFree(n->allocator, text));
    api->ReleaseModelMetadata(metadata);
    return bad;
}

static int read_names(struct network *n) {
    const OrtApi *api = n->api;
    if (failed(api, api->SessionGetInputCount(n->session, &n->inputs))) return 1;
    if (failed(api, api->SessionGetOutputCount(n->session, &n->outputs))) return 1;
    if (n->inputs > MOST || n->outputs > MOST) {
        fprintf(stderr, "more than %d inputs or outputs\n", MOST);
        n->inputs = n->outputs = 0;
        return 1;
    }
    for (size_t i = 0; i < n->inputs; i++)
        if (failed(api, api->SessionGetInputName(n->session, i, n->allocator, &n->input_names[i]))) return 1;
    for (size_t i = 0; i < n->outputs; i++)
        if (failed(api, api->SessionGetOutputName(n->session, i, n->allocator, &n->output_names[i]))) return 1;
    return 0;
}

struct network *open_network(const char *path, int height, int width) {
    struct network *n = calloc(1, sizeof *n);
    if (!n) return NULL;
    n->height = height;
    n->width = width;
    const OrtApi *api = n->api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) {
        fprintf(stderr, "onnxruntime %s is older than its header\n", OrtGetApiBase()->GetVersionString());
        free(n);
        return NULL;
    }
    if (failed(api, api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "edgeailite", &n->env)) ||
        failed(api, api->CreateSessionOptions(&n->options)) ||
        failed(api, api->GetAllocatorWithDefaultOptions(&n->allocator)) ||
        failed(api, api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &n->memory)) ||
        open_session(n, path) || apply_settings(n, path) || read_names(n)) {
        close_network(n);
        return NULL;
    }
    return n;
}

static void release_results(struct network *n) {
    for (size_t i = 0; i < n->outputs; i++) {
        if (n->results[i]) n->api->ReleaseValue(n->results[i]);
        n->results[i] = NULL;
    }
}

int run(struct network *n, float *inputs, int count) {
    const int64_t shape[4] = {1, 3, n->height, n->width};
    const size_t size = (size_t)3 * n->height * n->width;
    OrtValue *values[MOST] = {NULL};
    int bad = (size_t)count != n->inputs;
    if (bad) fprintf(stderr, "the file takes %zu inputs, not %d\n", n->inputs, count);
    for (int i = 0; !bad && i < count; i++) {
        bad = failed(n->api, n->api->CreateTensorWithDataAsOrtValue(n->memory, inputs + i * size, size * sizeof *inputs, shape,
                                                                    4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &values[i]));
    }
    release_results(n);
    bad = bad || failed(n->api, n->api->Run(n->session, NULL, (const char *const *)n->input_names,
                                            (const OrtValue *const *)values, n->inputs,
                                            (const char *const *)n->output_names, n->outputs, n->results));
    for (int i = 0; i < MOST; i++)
        if (values[i]) n->api->ReleaseValue(values[i]);
    return bad ? -1 : 0;
}

const float *output(const struct network *n, const char *name, size_t *size) {
    void *data = NULL;
    *size = 0;
    for (size_t i = 0; i < n->outputs; i++) {
        OrtTensorTypeAndShapeInfo *info = NULL;
        if (strcmp(n->output_names[i], name) != 0) continue;
        if (failed(n->api, n->api->GetTensorMutableData(n->results[i], &data)) ||
            failed(n->api, n->api->GetTensorTypeAndShape(n->results[i], &info)))
            return NULL;
        if (failed(n->api, n->api->GetTensorShapeElementCount(info, size))) data = NULL;
        n->api->ReleaseTensorTypeAndShapeInfo(info);
    }
    return data;
}

static void release_name(struct network *n, char *name) {
    if (name) failed(n->api, n->api->AllocatorFree(n->allocator, name));
}

void close_network(struct network *n) {
    if (!n) return;
    release_results(n);
    for (size_t i = 0; i < n->inputs; i++) release_name(n, n->input_names[i]);
    for (size_t i = 0; i < n->outputs; i++) release_name(n, n->output_names[i]);
    if (n->memory) n->api->ReleaseMemoryInfo(n->memory);
    if (n->session) n->api->ReleaseSession(n->session);
    if (n->options) n->api->ReleaseSessionOptions(n->options);
    if (n->env) n->api->ReleaseEnv(n->env);
    free(n);
}

#else

struct network *open_network(const char *path, int height, int width) {
    (void)height, (void)width;
    fprintf(stderr, "%s: compiled without -DWITH_ONNXRUNTIME\n", path);
    return NULL;
}

int run(struct network *network, float *inputs, int count) {
    (void)network, (void)inputs, (void)count;
    return -1;
}

const float *output(const struct network *network, const char *name, size_t *size) {
    (void)network, (void)name;
    *size = 0;
    return NULL;
}

void close_network(struct network *network) { (void)network; }

#endif
