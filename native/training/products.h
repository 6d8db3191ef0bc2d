// What multiplies: the tile unit, or vectors of float32.
#pragma once

#if defined(__AVX512BF16__)
#include "bfloat16/weight_gradients.h"
#else
#include "fma/weight_gradients.h"
#endif
