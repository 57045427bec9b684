// Under this name because programs written for StepMesh include it; everything is in ps/internal/backend.h.
#ifndef PMD_AF_PS_INTERNAL_GPU_BACKEND_H_
#define PMD_AF_PS_INTERNAL_GPU_BACKEND_H_

#include "ps/internal/backend.h"

#endif  // PMD_AF_PS_INTERNAL_GPU_BACKEND_H_
