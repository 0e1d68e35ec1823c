/* The network without an interpreter: reads the .tflite file and calls TensorFlow Lite's reference kernels, which are
 * headers, one operator after the other. For a check of a processor and its compiler where TensorFlow Lite Micro is not
 * built yet; int8 only. plan.cc finds places for the tensors. */
#include "model_int8.h"
#include "plan.h"
#include "run.h"

#include "tensorflow/lite/kernels/internal/portable_tensor.h"
#include "tensorflow/lite/kernels/internal/reference/arg_min_max.h"
#include "tensorflow/lite/kernels/internal/reference/concatenation.h"
#include "tensorflow/lite/kernels/internal/reference/dequantize.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/add.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/depthwise_conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/pooling.h"
#include "tensorflow/lite/kernels/internal/reference/pad.h"
#include "tensorflow/lite/kernels/internal/reference/reduce.h"
#include "tensorflow/lite/kernels/internal/reference/resize_bilinear.h"
#include "tensorflow/lite/kernels/internal/reference/resize_nearest_neighbor.h"
#include "tensorflow/lite/kernels/internal/reference/slice.h"

#include <cmath>
#include <cstdio>
#include <cstring>

using tflite::RuntimeShape;

namespace tflite {
/* Declared by the kernels' headers; two roundings. */
int32_t MultiplyByQuantizedMultiplier(int32_t x, int32_t multiplier, int exponent) {
    const int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
    return gemmlowp::RoundingDivideByPOT(gemmlowp::SaturatingRoundingDoublingHighMul(x * (1 << left), multiplier),
                                         right);
}
} // namespace tflite

namespace {
const tflite::SubGraph *graph;
constexpr int MOST_CHANNELS = 2048, MOST_INPUTS = 64;
int32_t multipliers[MOST_CHANNELS], exponents[MOST_CHANNELS], sums[MOST_CHANNELS];

/* A factor as 31 bits and a power of two. */
void split(double factor, int32_t *multiplier, int32_t *exponent) {
    int power;
    int64_t bits = int64_t(floor(frexp(factor, &power) * 2147483648.0 + 0.5));
    if (bits == int64_t(1) << 31) {
        bits /= 2;
        power++;
    }
    *multiplier = power < -31 ? 0 : int32_t(bits);
    *exponent = power < -31 ? 0 : power;
}

/* An operator's tensors. */
struct Node {
    const tflite::Operator *op;
    int index(int i) const { return op->inputs()->Get(i); }
    int index() const { return op->outputs()->Get(0); }
    int count() const { return int(op->inputs()->size()); }
};

RuntimeShape shape(int tensor) {
    const auto *sides = graph->tensors()->Get(tensor)->shape();
    return RuntimeShape(int(sides->size()), sides->data());
}
int side(int tensor, int axis) { return graph->tensors()->Get(tensor)->shape()->Get(axis); }
double scale(int tensor, int channel = 0) {
    return double(graph->tensors()->Get(tensor)->quantization()->scale()->Get(channel));
}
int zero(int tensor) { return int(graph->tensors()->Get(tensor)->quantization()->zero_point()->Get(0)); }
int8_t *codes(int tensor) { return static_cast<int8_t *>(data_of(tensor)); }
const int32_t *words(int tensor) { return static_cast<const int32_t *>(data_of(tensor)); }

/* Rows of SAME before the picture. */
int before(tflite::Padding padding, int n, int out, int kernel, int stride, int dilation) {
    const int total = (out - 1) * stride + dilation * (kernel - 1) + 1 - n;
    return padding == tflite::Padding_SAME && total > 0 ? total / 2 : 0;
}

template <class Params, class Options>
void place_window(Params *params, const Options *options, int x, int y, int kernel_height, int kernel_width, int down,
                  int across) {
    params->padding_values = {};
    params->padding_values.height =
        int16_t(before(options->padding(), side(x, 1), side(y, 1), kernel_height, options->stride_h(), down));
    params->padding_values.width =
        int16_t(before(options->padding(), side(x, 2), side(y, 2), kernel_width, options->stride_w(), across));
    params->stride_height = int16_t(options->stride_h());
    params->stride_width = int16_t(options->stride_w());
}

template <class Params> void limit(Params *params, tflite::ActivationFunctionType activation, int y) {
    int low = -128, high = 127;
    if (activation != tflite::ActivationFunctionType_NONE) low = zero(y) > low ? zero(y) : low;
    if (activation == tflite::ActivationFunctionType_RELU6) {
        const int six = zero(y) + int(roundf(6.0f / float(scale(y))));
        high = six < high ? six : high;
    }
    params->quantized_activation_min = low;
    params->quantized_activation_max = high;
}

/* What both convolutions have in common; false for more channels than the tables have. */
template <class Params, class Options>
bool prepare(Params *params, const Node &node, const Options *options) {
    const int x = node.index(0), weight = node.index(1), y = node.index(), channels = side(y, 3);
    if (channels > MOST_CHANNELS) return false;
    const bool is_per_channel = graph->tensors()->Get(weight)->quantization()->scale()->size() > 1;
    for (int i = 0; i < channels; i++)
        split(scale(x) * scale(weight, is_per_channel ? i : 0) / scale(y), &multipliers[i], &exponents[i]);
    place_window(params, options, x, y, side(weight, 1), side(weight, 2), options->dilation_h_factor(),
                 options->dilation_w_factor());
    params->dilation_height_factor = int16_t(options->dilation_h_factor());
    params->dilation_width_factor = int16_t(options->dilation_w_factor());
    params->input_offset = -zero(x);
    params->weights_offset = 0;
    params->output_offset = zero(y);
    limit(params, options->fused_activation_function(), y);
    return true;
}

bool convolve(const Node &node) {
    const int x = node.index(0), weight = node.index(1), bias = node.index(2), y = node.index();
    tflite::ConvParams params{};
    if (!prepare(&params, node, node.op->builtin_options_as_Conv2DOptions())) return false;
    tflite::reference_integer_ops::ConvPerChannel(params, multipliers, exponents, shape(x), codes(x), shape(weight),
                                                  codes(weight), shape(bias), words(bias), shape(y), codes(y));
    return true;
}

bool convolve_depthwise(const Node &node) {
    const int x = node.index(0), weight = node.index(1), bias = node.index(2), y = node.index();
    const auto *options = node.op->builtin_options_as_DepthwiseConv2DOptions();
    tflite::DepthwiseParams params{};
    if (!prepare(&params, node, options)) return false;
    params.depth_multiplier = int16_t(options->depth_multiplier());
    tflite::reference_integer_ops::DepthwiseConvPerChannel(params, multipliers, exponents, shape(x), codes(x),
                                                           shape(weight), codes(weight), shape(bias), words(bias),
                                                           shape(y), codes(y));
    return true;
}

bool add(const Node &node) {
    const int a = node.index(0), b = node.index(1), y = node.index(), bits = 20;
    const double twice = 2 * (scale(a) > scale(b) ? scale(a) : scale(b));
    tflite::ArithmeticParams params{};
    int32_t exponent;
    params.left_shift = bits;
    params.input1_offset = -zero(a);
    params.input2_offset = -zero(b);
    params.output_offset = zero(y);
    split(scale(a) / twice, &params.input1_multiplier, &exponent);
    params.input1_shift = exponent;
    split(scale(b) / twice, &params.input2_multiplier, &exponent);
    params.input2_shift = exponent;
    split(twice / ((1 << bits) * scale(y)), &params.output_multiplier, &exponent);
    params.output_shift = exponent;
    limit(&params, node.op->builtin_options_as_AddOptions()->fused_activation_function(), y);
    tflite::reference_integer_ops::Add(params, shape(a), codes(a), shape(b), codes(b), shape(y), codes(y));
    return true;
}

bool concatenate(const Node &node) {
    const int y = node.index(), count = node.count();
    if (count > MOST_INPUTS) return false;
    RuntimeShape shapes[MOST_INPUTS];
    const RuntimeShape *places[MOST_INPUTS];
    const int8_t *data[MOST_INPUTS];
    for (int i = 0; i < count; i++) {
        const auto *sides = graph->tensors()->Get(node.index(i))->shape();
        shapes[i].ReplaceWith(int(sides->size()), sides->data());
        places[i] = &shapes[i];
        data[i] = codes(node.index(i));
    }
    tflite::ConcatenationParams params{};
    params.axis = int8_t(node.op->builtin_options_as_ConcatenationOptions()->axis());
    params.inputs_count = uint16_t(count);
    tflite::reference_ops::Concatenation(params, places, data, shape(y), codes(y));
    return true;
}

bool pad(const Node &node) {
    const int x = node.index(0), y = node.index();
    const int32_t *pads = words(node.index(1));
    tflite::PadParams params{};
    params.left_padding_count = params.right_padding_count = 4;
    for (int axis = 0; axis < 4; axis++) {
        params.left_padding[axis] = pads[2 * axis];
        params.right_padding[axis] = pads[2 * axis + 1];
    }
    const int8_t value = int8_t(zero(y));
    tflite::reference_ops::Pad(params, shape(x), codes(x), &value, shape(y), codes(y));
    return true;
}

bool pool(const Node &node) {
    const int x = node.index(0), y = node.index();
    const auto *options = node.op->builtin_options_as_Pool2DOptions();
    tflite::PoolParams params{};
    params.filter_height = options->filter_height();
    params.filter_width = options->filter_width();
    place_window(&params, options, x, y, params.filter_height, params.filter_width, 1, 1);
    limit(&params, options->fused_activation_function(), y);
    tflite::reference_integer_ops::MaxPool(params, shape(x), codes(x), shape(y), codes(y));
    return true;
}

bool mean(const Node &node) {
    const int x = node.index(0), axes = node.index(1), y = node.index(), count = side(axes, 0);
    if (side(y, 3) > MOST_CHANNELS || count > 4) return false;
    int32_t multiplier, exponent;
    int before[4], after[4], over[4], index[4], resolved[4]; /* int32_t may be long */
    for (int axis = 0; axis < 4; axis++) {
        before[axis] = side(x, axis);
        after[axis] = side(y, axis);
    }
    for (int i = 0; i < count; i++) over[i] = words(axes)[i];
    split(scale(x) / scale(y), &multiplier, &exponent);
    return tflite::reference_ops::QuantizedMeanOrSum(codes(x), zero(x), before, 4, codes(y), multiplier, exponent,
                                                     zero(y), after, 4, over, count, true, index, resolved, sums,
                                                     false);
}

bool resize(const Node &node) {
    const int x = node.index(0), size = node.index(1), y = node.index();
    const auto *options = node.op->builtin_options_as_ResizeBilinearOptions();
    tflite::ResizeBilinearParams params{};
    params.align_corners = options->align_corners();
    params.half_pixel_centers = options->half_pixel_centers();
    tflite::reference_ops::ResizeBilinearInteger(params, shape(x), codes(x), shape(size), words(size), shape(y),
                                                 codes(y));
    return true;
}

bool resize_nearest(const Node &node) {
    const int x = node.index(0), size = node.index(1), y = node.index();
    const auto *options = node.op->builtin_options_as_ResizeNearestNeighborOptions();
    tflite::ResizeNearestNeighborParams params{};
    params.align_corners = options->align_corners();
    params.half_pixel_centers = options->half_pixel_centers();
    tflite::reference_ops::ResizeNearestNeighbor(params, shape(x), codes(x), shape(size), words(size), shape(y),
                                                 codes(y));
    return true;
}

/* MIRROR_PAD of height and width, edges repeated (SYMMETRIC). Its kernel has no header: copied here by hand. */
bool mirror_pad(const Node &node) {
    const int x = node.index(0), y = node.index(), channels = side(x, 3);
    const int32_t *pads = words(node.index(1));
    if (node.op->builtin_options_as_MirrorPadOptions()->mode() != tflite::MirrorPadMode_SYMMETRIC) return false;
    const int height = side(x, 1), width = side(x, 2);
    int8_t *to = codes(y);
    for (int row = 0; row < side(y, 1); row++) {
        int from_row = row - int(pads[2]);
        from_row = from_row < 0 ? -1 - from_row : from_row >= height ? 2 * height - 1 - from_row : from_row;
        for (int column = 0; column < side(y, 2); column++, to += channels) {
            int from = column - int(pads[4]);
            from = from < 0 ? -1 - from : from >= width ? 2 * width - 1 - from : from;
            memcpy(to, codes(x) + (from_row * width + from) * channels, size_t(channels));
        }
    }
    return true;
}

bool slice(const Node &node) {
    const int x = node.index(0), y = node.index();
    tflite::SliceParams params{};
    params.begin_count = params.size_count = 4;
    for (int axis = 0; axis < 4; axis++) {
        params.begin[axis] = words(node.index(1))[axis];
        params.size[axis] = words(node.index(2))[axis];
    }
    tflite::reference_ops::Slice(params, shape(x), codes(x), shape(y), codes(y));
    return true;
}

bool reshape(const Node &node) {
    memcpy(data_of(node.index()), data_of(node.index(0)), bytes_of(node.index()));
    return true;
}

bool arg_max(const Node &node) {
    const int x = node.index(0), y = node.index();
    tflite::reference_ops::ArgMinMax(shape(x), codes(x), words(node.index(1)), shape(y),
                                     static_cast<int32_t *>(data_of(y)),
                                     [](int8_t a, int8_t b) { return a > b; });
    return true;
}

bool dequantize(const Node &node) {
    const int x = node.index(0), y = node.index();
    tflite::DequantizationParams params{};
    params.scale = scale(x);
    params.zero_point = zero(x);
    tflite::reference_ops::Dequantize(params, shape(x), codes(x), shape(y), static_cast<float *>(data_of(y)));
    return true;
}

bool apply(const Node &node, int kind) {
    switch (kind) {
    case tflite::BuiltinOperator_ADD: return add(node);
    case tflite::BuiltinOperator_ARG_MAX: return arg_max(node);
    case tflite::BuiltinOperator_CONCATENATION: return concatenate(node);
    case tflite::BuiltinOperator_CONV_2D: return convolve(node);
    case tflite::BuiltinOperator_DEPTHWISE_CONV_2D: return convolve_depthwise(node);
    case tflite::BuiltinOperator_DEQUANTIZE: return dequantize(node);
    case tflite::BuiltinOperator_MAX_POOL_2D: return pool(node);
    case tflite::BuiltinOperator_MEAN: return mean(node);
    case tflite::BuiltinOperator_MIRROR_PAD: return mirror_pad(node);
    case tflite::BuiltinOperator_PAD: return pad(node);
    case tflite::BuiltinOperator_RESHAPE: return reshape(node);
    case tflite::BuiltinOperator_RESIZE_BILINEAR: return resize(node);
    case tflite::BuiltinOperator_RESIZE_NEAREST_NEIGHBOR: return resize_nearest(node);
    case tflite::BuiltinOperator_SLICE: return slice(node);
    default: return false;
    }
}

const void *whole(int tensor, size_t *size) {
    *size = bytes_of(tensor);
    return data_of(tensor);
}
} // namespace

bool start() {
    const tflite::Model *model = tflite::GetModel(model_int8);
    graph = model->subgraphs()->Get(0);
    for (const tflite::Tensor *tensor : *graph->tensors())
        if (tensor->type() == tflite::TensorType_INT16) {
            printf("%s has 16 bits: use run_micro.cc\n", tensor->name()->c_str());
            return false;
        }
    return plan(model);
}

void *input(size_t index, size_t *size) {
    return const_cast<void *>(whole(graph->inputs()->Get(unsigned(index)), size));
}

const void *output(size_t index, size_t *size) { return whole(graph->outputs()->Get(unsigned(index)), size); }

bool run() {
    const tflite::Model *model = tflite::GetModel(model_int8);
    for (const tflite::Operator *op : *graph->operators()) {
        const int kind = model->operator_codes()->Get(op->opcode_index())->builtin_code();
        if (apply(Node{op}, kind)) continue;
        printf("operator %s has no kernel here, or more channels or inputs than there is room for\n",
               tflite::EnumNameBuiltinOperator(tflite::BuiltinOperator(kind)));
        return false;
    }
    return true;
}

size_t arena_used() { return planned_bytes(); }
