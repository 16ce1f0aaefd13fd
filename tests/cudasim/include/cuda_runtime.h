/* cuda_runtime: the simulated GPU's runtime, and in C++ its device side. */
#ifndef CUDASIM_CUDA_RUNTIME_H
#define CUDASIM_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"
#ifdef __cplusplus
#include "cudasim.h"
#endif

#endif
