#!/bin/sh
# Builds libpmd_af and installs it with its headers, its CMake package and its pkg-config file.
#
#   af-api/capi/install.sh PREFIX            builds in the release profile
#   af-api/capi/install.sh PREFIX --from DIR takes the libraries from DIR, where cargo has put them
#
# Afterwards a program is one line, without anything to set but pkg-config's path:
#   export PKG_CONFIG_PATH=PREFIX/lib/pkgconfig
#   g++ -std=c++17 program.cpp $(pkg-config --cflags --libs pmd_af) -o program
set -eu
here=$(dirname "$0")
exec "$here/../../pmd-core/capi/install.sh" "$here" pmd_af "Attention-FFN disaggregation over the poll-mode RDMA driver, in C and C++" "$@"
