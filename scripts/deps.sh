#!/usr/bin/env bash
# Installs the Debian packages that are missing: docs/dependencies.md says what each is for. With --tests those too that
# tests alone need.
# usage: deps.sh [--tests]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"

packages=(gcc g++ libc6-dev cmake ninja-build pkg-config
  libyaml-dev libopenblas-dev libturbojpeg0-dev libspng-dev libwebp-dev libexif-dev libcjson-dev libxxhash-dev
  zlib1g-dev libprotobuf-c-dev protobuf-c-compiler libonnx-dev libcmocka-dev jq)
[ $# -eq 0 ] || packages+=(libopenmpi-dev openmpi-bin)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "dependencies: all there"
  exit 0
fi
echo "dependencies: installing ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "deps.sh: to install ${missing[*]} it must run as root" >&2; exit 1; }
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
