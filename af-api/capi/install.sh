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

mkdir -p "$prefix/lib/pkgconfig" "$prefix/lib/cmake/pmd_af" "$prefix/include"
# Below 1.0, releases are compatible when their minor versions are equal: that much is in the library's own name.
shared=libpmd_af.so.$version
soname=libpmd_af.so.${version%.*}
cp "$libraries/libpmd_af.so" "$prefix/lib/.$shared"
cp "$libraries/libpmd_af.a" "$prefix/lib/.libpmd_af.a"
# A copy beside it, then a rename: programs that run with the old one keep it.
mv "$prefix/lib/.$shared" "$prefix/lib/$shared"
mv "$prefix/lib/.libpmd_af.a" "$prefix/lib/libpmd_af.a"
ln -sfn "$shared" "$prefix/lib/$soname"
ln -sfn "$soname" "$prefix/lib/libpmd_af.so"
(cd "$here/include" && find . -name '*.h') | while read -r header; do
  mkdir -p "$prefix/include/$(dirname "$header")"
  cp "$here/include/$header" "$prefix/include/$header"
done
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" "$here/package/pmd_af.pc.in" \
  > "$prefix/lib/pkgconfig/pmd_af.pc"
sed -e "s|@version@|$version|" "$here/package/pmd_afConfigVersion.cmake.in" \
  > "$prefix/lib/cmake/pmd_af/pmd_afConfigVersion.cmake"
cp "$here/package/pmd_afConfig.cmake" "$prefix/lib/cmake/pmd_af/"
echo "installed pmd_af $version in $prefix"
