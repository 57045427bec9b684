#!/bin/sh
# Builds libplugin_PMD.so: build.sh FOLDER [PROFILE]
#
# FOLDER is where it goes; PROFILE is cargo's, release if it is not given. CARGO_TARGET_DIR and CXX are heard.
# NIXL_INTERFACE names the declaration in interface/ (nixl_1_5_1.h). With NIXL_INCLUDE, NIXL's own headers are used: it is
# a source tree of NIXL, or a list of folders divided by colons, and then NIXL_RELEASE says which release they are of.
# PMD_BUILT is a folder in which cargo has left libkv_api_nixl.a already: cargo is not called then.
set -eu
folder=$1
profile=${2:-release}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
case $profile in dev) output=$target/debug ;; *) output=$target/$profile ;; esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)

if [ -n "${PMD_BUILT:-}" ]; then
    output=$PMD_BUILT
else
    (cd "$root" && cargo build --package kv-api-nixl --profile "$profile")
fi

if [ -n "${NIXL_INCLUDE:-}" ]; then
    set -- -DPMD_NIXL_HEADERS "-I$here/shim/headers"
    if [ -d "$NIXL_INCLUDE/src/api/cpp" ]; then
        for part in api/cpp api/cpp/backend core/telemetry infra utils; do set -- "$@" -isystem "$NIXL_INCLUDE/src/$part"; done
        : "${NIXL_RELEASE:=$(sed -n "s/^project('nixl'.*version: *'\([^']*\)'.*/\1/p" "$NIXL_INCLUDE/meson.build")}"
    else
        for part in $(echo "$NIXL_INCLUDE" | tr : ' '); do set -- "$@" -isystem "$part"; done
    fi
    set -- "$@" "-DPMD_NIXL_RELEASE=\"${NIXL_RELEASE:?say which release the headers are of}\""
else
    set -- "-DPMD_NIXL_INTERFACE=\"interface/${NIXL_INTERFACE:-nixl_1_5_1.h}\""
fi

mkdir -p "$folder"
"${CXX:-g++}" -std=c++20 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -shared -o "$folder/libplugin_PMD.so" \
    "$@" "-DPMD_VERSION=\"$version\"" "-I$here" "$here/shim/engine.cpp" "$output/libkv_api_nixl.a" \
    "-Wl,--version-script=$here/shim/exports.map" -Wl,--gc-sections,-z,defs,-z,now -ldl -lpthread -lm -lrt -lutil
