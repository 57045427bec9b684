#!/bin/sh
# Builds a C library of this repository and installs it with its headers, its CMake package and its pkg-config file.
# Called by the install.sh of each such library:
#
#   install.sh FOLDER LIBRARY DESCRIPTION PREFIX            builds the package in FOLDER in the release profile
#   install.sh FOLDER LIBRARY DESCRIPTION PREFIX --from DIR takes the libraries from DIR, where cargo has put them
set -eu

usage() {
  echo "usage: install.sh PREFIX [--from DIR]" >&2
  exit 2
}

[ $# -eq 4 ] || [ $# -eq 6 ] || usage
case "$4" in -*) usage ;; esac
package=$(cd "$1" && pwd)
library=$2
description=$3
mkdir -p "$4"
prefix=$(cd "$4" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -eq 6 ]; then
  [ "$5" = --from ] || usage
  libraries=$6
else
  cargo build --release --manifest-path "$package/Cargo.toml"
  libraries=${CARGO_TARGET_DIR:-$here/../../target}/release
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")

cmake=$prefix/lib/cmake/$library
mkdir -p "$prefix/lib/pkgconfig" "$cmake" "$prefix/include"
# Below 1.0, releases are compatible when their minor versions are equal: that much is in the library's own name.
shared=lib$library.so.$version
soname=lib$library.so.${version%.*}
cp "$libraries/lib$library.so" "$prefix/lib/.$shared"
cp "$libraries/lib$library.a" "$prefix/lib/.lib$library.a"
# A copy beside it, then a rename: programs that run with the old one keep it.
mv "$prefix/lib/.$shared" "$prefix/lib/$shared"
mv "$prefix/lib/.lib$library.a" "$prefix/lib/lib$library.a"
ln -sfn "$shared" "$prefix/lib/$soname"
ln -sfn "$soname" "$prefix/lib/lib$library.so"
(cd "$package/include" && find . -name '*.h') | while read -r header; do
  mkdir -p "$prefix/include/$(dirname "$header")"
  cp "$package/include/$header" "$prefix/include/$header"
done

fill() {
  sed -e "s|@library@|$library|g" -e "s|@description@|$description|" -e "s|@prefix@|$prefix|" \
    -e "s|@version@|$version|" "$here/package/$1"
}
fill library.pc.in >"$prefix/lib/pkgconfig/$library.pc"
fill libraryConfig.cmake.in >"$cmake/${library}Config.cmake"
fill libraryConfigVersion.cmake.in >"$cmake/${library}ConfigVersion.cmake"
echo "installed $library $version in $prefix"
