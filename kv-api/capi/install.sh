#!/bin/sh
# Builds libpmd_kv and installs it with its headers, its CMake package and its pkg-config file.
#
#   kv-api/capi/install.sh PREFIX            builds in the release profile
#   kv-api/capi/install.sh PREFIX --from DIR takes the libraries from DIR, where cargo has put them
#
# Afterwards a program is one line, without anything to set but pkg-config's path:
#   export PKG_CONFIG_PATH=PREFIX/lib/pkgconfig
#   g++ -std=c++17 program.cpp $(pkg-config --cflags --libs pmd_kv) -o program
set -eu
here=$(dirname "$0")
exec "$here/../../pmd-core/capi/install.sh" "$here" pmd_kv "KV-cache transfer over the poll-mode RDMA driver, in C and C++" "$@"
