// What multiplies: tiles or vectors of bfloat16, or vectors of float32.
#pragma once

#if defined(VSR_TILES) || defined(VSR_DOT)
#include "bfloat16/weight_gradients.h"
#else
#include "fma/weight_gradients.h"
#endif
