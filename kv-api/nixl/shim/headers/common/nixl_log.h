// Stands in for NIXL's header of this name when the shim is built against NIXL's tree: that one brings abseil along, which
// the plugin would then have to find at run time. NIXL's headers say little with it, and that little goes to stderr.
#pragma once

#include <iostream>

#define PMD_NIXL_LOG (std::cerr << "NIXL plugin PMD: ")
#define NIXL_ERROR PMD_NIXL_LOG
#define NIXL_WARN PMD_NIXL_LOG
#define NIXL_INFO PMD_NIXL_LOG
#define NIXL_DEBUG PMD_NIXL_LOG
#define NIXL_ASSERT(condition) static_cast<void>(condition)
