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

usage() {
  echo "usage: $0 PREFIX [--from DIR]" >&2
  exit 2
}

[ $# -eq 1 ] || [ $# -eq 3 ] || usage
case "$1" in -*) usage ;; esac
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
if [ $# -eq 3 ]; then
  [ "$2" = --from ] || usage
  libraries=$3
else
  cargo build --release --manifest-path "$here/Cargo.toml"
  libraries=${CARGO_TARGET_DIR:-$here/../../target}/release
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")

mkdir -p "$prefix/lib/pkgconfig" "$prefix/lib/cmake/pmd_kv" "$prefix/include"
# Below 1.0, releases are compatible when their minor versions are equal: that much is in the library's own name.
shared=libpmd_kv.so.$version
soname=libpmd_kv.so.${version%.*}
cp "$libraries/libpmd_kv.so" "$prefix/lib/.$shared"
cp "$libraries/libpmd_kv.a" "$prefix/lib/.libpmd_kv.a"
# A copy beside it, then a rename: programs that run with the old one keep it.
mv "$prefix/lib/.$shared" "$prefix/lib/$shared"
mv "$prefix/lib/.libpmd_kv.a" "$prefix/lib/libpmd_kv.a"
ln -sfn "$shared" "$prefix/lib/$soname"
ln -sfn "$soname" "$prefix/lib/libpmd_kv.so"
(cd "$here/include" && find . -name '*.h') | while read -r header; do
  mkdir -p "$prefix/include/$(dirname "$header")"
  cp "$here/include/$header" "$prefix/include/$header"
done
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" "$here/package/pmd_kv.pc.in" \
  > "$prefix/lib/pkgconfig/pmd_kv.pc"
sed -e "s|@version@|$version|" "$here/package/pmd_kvConfigVersion.cmake.in" \
  > "$prefix/lib/cmake/pmd_kv/pmd_kvConfigVersion.cmake"
cp "$here/package/pmd_kvConfig.cmake" "$prefix/lib/cmake/pmd_kv/"
echo "installed pmd_kv $version in $prefix"
