// The wide path's products that see each pixel by itself, forward and back.
#pragma once

#if defined(__AMX_BF16__)
#include "amx/wide.h"
#else
#include "fma/wide.h"
#endif
