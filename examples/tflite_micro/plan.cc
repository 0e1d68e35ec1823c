/* Places tensors as TensorFlow Lite Micro does: the largest first, each at the lowest place where no tensor stands
 * that lives at the same time. */
#include "plan.h"

#include "model_int8.h"

#include <cstdio>

#ifndef ARENA_BYTES
#define ARENA_BYTES (MODEL_INT8_LIVE_BYTES * 3 / 2 + 4096) /* places leave gaps */
#endif

namespace {
alignas(16) unsigned char arena[ARENA_BYTES];
constexpr int MOST_TENSORS = 1024;
constexpr size_t NOWHERE = ~size_t(0);

struct Place {
    const unsigned char *constant;
    size_t at, size;
    int first, last; /* operators between which it lives */
} places[MOST_TENSORS];
size_t used;

size_t size_of(const tflite::Tensor *tensor) {
    size_t size = tensor->type() == tflite::TensorType_INT8 ? 1 : 4;
    for (int side : *tensor->shape()) size *= size_t(side);
    return size;
}

bool live_together(const Place &a, const Place &b) { return a.first <= b.last && b.first <= a.last; }

/* The lowest multiple of 16 that is free; every candidate is 0 or the end of a tensor. */
size_t lowest(int count, const Place &tensor) {
    size_t best = NOWHERE;
    for (int candidate = -1; candidate < count; candidate++) {
        const Place *after = candidate < 0 ? nullptr : &places[candidate];
        if (after && (after->at == NOWHERE || !live_together(*after, tensor))) continue;
        const size_t at = after ? (after->at + after->size + 15) / 16 * 16 : 0;
        bool is_free = at < best;
        for (int i = 0; is_free && i < count; i++) {
            const Place &other = places[i];
            is_free = other.at == NOWHERE || !live_together(other, tensor) || at + tensor.size <= other.at ||
                      other.at + other.size <= at;
        }
        if (is_free) best = at;
    }
    return best;
}

void find_lives(const tflite::Model *model) {
    const tflite::SubGraph *graph = model->subgraphs()->Get(0);
    const int count = int(graph->tensors()->size()), steps = int(graph->operators()->size());
    for (int i = 0; i < count; i++) {
        const tflite::Tensor *tensor = graph->tensors()->Get(i);
        const auto *data = model->buffers()->Get(tensor->buffer())->data();
        places[i] = {data ? data->data() : nullptr, NOWHERE, size_of(tensor), steps, -1};
    }
    for (int i : *graph->inputs()) places[i].first = 0;
    for (int step = 0; step < steps; step++) {
        for (int i : *graph->operators()->Get(step)->inputs()) places[i].last = step;
        for (int i : *graph->operators()->Get(step)->outputs()) places[i].first = places[i].last = step;
    }
    for (int i : *graph->outputs()) places[i].last = steps;
}
} // namespace

bool plan(const tflite::Model *model) {
    const int count = int(model->subgraphs()->Get(0)->tensors()->size());
    if (count > MOST_TENSORS) {
        printf("%d tensors, at most %d\n", count, MOST_TENSORS);
        return false;
    }
    find_lives(model);
    for (;;) {
        Place *largest = nullptr;
        for (int i = 0; i < count; i++)
            if (!places[i].constant && places[i].at == NOWHERE && (!largest || places[i].size > largest->size))
                largest = &places[i];
        if (!largest) break;
        largest->at = lowest(count, *largest);
        if (largest->at + largest->size > used) used = largest->at + largest->size;
    }
    if (used <= ARENA_BYTES) return true;
    printf("the tensors need %u bytes: compile with -DARENA_BYTES=%u\n", unsigned(used), unsigned(used));
    return false;
}

void *data_of(int tensor) {
    const Place &place = places[tensor];
    return place.constant ? const_cast<unsigned char *>(place.constant) : arena + place.at;
}

size_t bytes_of(int tensor) { return places[tensor].size; }

size_t planned_bytes() { return used; }
