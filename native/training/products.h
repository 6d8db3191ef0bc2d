// What multiplies: the tile unit, or vectors of float32.
#pragma once

#if defined(__AMX_BF16__)
#include "amx/weight_gradients.h"
#else
#include "fma/weight_gradients.h"
#endif
