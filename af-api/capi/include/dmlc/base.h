// Under this name because programs written for StepMesh may include it; everything is in dmlc/logging.h.
#ifndef PMD_AF_DMLC_BASE_H_
#define PMD_AF_DMLC_BASE_H_

#include "dmlc/logging.h"

#endif  // PMD_AF_DMLC_BASE_H_
