// The wide path's products that see each pixel by itself, forward and back.
#pragma once

#if defined(__AVX512BF16__)
#include "bfloat16/wide.h"
#else
#include "fma/wide.h"
#endif
