// The wide path's products that see each pixel by itself, forward and back.
#pragma once

#if defined(VSR_TILES) || defined(VSR_DOT)
#include "bfloat16/wide.h"
#else
#include "fma/wide.h"
#endif
