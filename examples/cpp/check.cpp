// As examples/c/check.c, in C++17: how a golden picture goes through preprocessing and network, with owners for everything.
// The arithmetic is that of examples/c, so that there is one place to be wrong.
#include "golden.h"
#include "golden_sums.h"
#include "preprocess.h"
#include "run.h"
#include "sha256.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Close {
    void operator()(network *opened) const { close_network(opened); }
};
using Network = std::unique_ptr<network, Close>;

std::string digest(const float *values, std::size_t size) {
    std::array<char, 65> digits{};
    sha256(values, size * sizeof(float), digits.data());
    return digits.data();
}

// The inputs of a case, one behind the other.
std::vector<float> inputs_of(const golden_case &golden) {
    const std::size_t size = std::size_t{3} * GOLDEN_PREPROCESSING.height * GOLDEN_PREPROCESSING.width;
    std::vector<float> inputs(size * golden.inputs);
    for (int i = 0; i < golden.inputs; i++) {
        const golden_input &from = golden.input[i];
        float *to = inputs.data() + i * size;
        if (preprocess(&GOLDEN_PREPROCESSING, from.picture, from.height, from.width, to)) throw std::bad_alloc();
        if (digest(to, size) != from.sha256) throw std::runtime_error("input departs");
    }
    return inputs;
}

bool agrees(const golden_output &expected, const float *found) {
    if (GOLDEN_INT8) return digest(found, expected.size) == expected.sha256;
    const bool at_places = std::all_of(expected.value, expected.value + expected.values, [&](const golden_value &value) {
        return std::fabs(found[value.at] - value.value) <= expected.gap;
    });
    return at_places && golden_sums_depart(&expected, found) < 0;
}

void check(const golden_case &golden, network *opened) {
    std::vector<float> inputs = inputs_of(golden);
    if (!opened) return;
    if (run(opened, inputs.data(), golden.inputs)) throw std::runtime_error("the file cannot be run");
    for (int i = 0; i < golden.outputs; i++) {
        std::size_t size = 0;
        const float *found = output(opened, golden.output[i].name, &size);
        if (!found || size != golden.output[i].size || !agrees(golden.output[i], found))
            throw std::runtime_error(std::string(golden.output[i].name) + " departs");
    }
}

}  // namespace

int main(int count, char **words) {
    const Network opened(count > 1 ? open_network(words[1], GOLDEN_PREPROCESSING.height, GOLDEN_PREPROCESSING.width) : nullptr);
    if (count > 1 && !opened) return 3;
    for (int i = 0; i < GOLDEN_CASES; i++) {
        try {
            check(GOLDEN[i], opened.get());
        } catch (const std::exception &error) {
            std::cout << "case " << i << ": " << error.what() << '\n';
            return 4;
        }
    }
    std::cout << GOLDEN_CASES << " golden case(s): preprocessing" << (opened ? " and outputs" : "") << " agree\n";
    return 0;
}
