#!/usr/bin/env bash
# Packs what scripts/gpu_check.sh needs for a GPU machine that has no compiler and no package registry: the release build
# with CUDA, its tests, the shared libraries that it uses, configs and scripts. FILE is
# build/gpu-bundle.tar.xz if none is named.
#
# There: tar xf gpu-bundle.tar.xz || python3 -m tarfile -e gpu-bundle.tar.xz; dram-gpu/scripts/gpu_check.sh (python3 does
# without xz). That machine must have what is too large to bring, or is
# its own: the NVIDIA driver for CUDA 13 with libnvidia-ml.so.1, libcublasLt.so.13, libcudnn.so.9 with its parts and libnccl.so.2
# (hundreds of MB; a system's packages or those of a PyTorch for CUDA 13 will do), glibc and libstdc++ at least as new as here, bash,
# coreutils and awk. Without PyTorch (python3 with torch and timm) the benchmark is dram's alone.
# DRAM_BUILD names a build to pack as it is, instead of build/gpu made here, which has machine code for every GPU that is
# known, and line numbers for compute-sanitizer.
# usage: gpu_bundle.sh [FILE]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."
file=${1:-build/gpu-bundle.tar.xz}
read -ra programs <scripts/gpu_programs.txt
most=60000000
if [ -z "${DRAM_BUILD:-}" ]; then
  scripts/deps.sh
  scripts/build.sh gpu "${programs[@]}"
fi
build=${DRAM_BUILD:-build/gpu}
doctor=$("$build/dram" doctor) || { echo "gpu_bundle: $build/dram does not start" >&2; exit 1; }
case $doctor in
  *"this build has no CUDA"* | *"this build simulates"*)
    echo "gpu_bundle: $build has no kernels for a GPU: build with nvcc (cmake -DDRAM_CUDA=ON)" >&2
    exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/dram-gpu
mkdir -p "$tree/build/release/tests" "$tree/bin" "$tree/lib" "$tree/scripts" "$tree/bench" "$tree/tests/comm" "$(dirname "$file")"
for p in "${programs[@]}"; do
  [ "${p#test_}" = "$p" ] || p=tests/$p
  strip -o "$tree/build/release/$p" "$build/$p"
done
cp -r configs "$tree/configs"
cp scripts/gpu_check.sh scripts/gpu_first.sh scripts/lib.sh scripts/gpu_programs.txt "$tree/scripts"
cp tests/comm/simrun.sh "$tree/tests/comm"
cp bench/gpu.sh bench/gpu.yaml bench/torch_gpu.py "$tree/bench"
# jq finds its libraries beside it, whatever the shell has told others.
cp "$(command -v jq)" "$tree/bin/jq.own"
printf '%s\n' '#!/bin/sh' 'here=$(cd "$(dirname "$0")/.." && pwd)' 'LD_LIBRARY_PATH=$here/lib exec "$here/bin/jq.own" "$@"' >"$tree/bin/jq"
chmod +x "$tree/bin/jq"
# Not the C and C++ libraries: those that CUDA's own need are there.
ldd "$tree"/bin/jq.own "$tree"/build/release/{dram,bench_gpu,tests/*} | awk '/=> \// { print $3 }' |
  sort -u | grep -Ev '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so' | xargs -I{} cp -L {} "$tree/lib/"
cat >"$tree/dram" <<'EOF'
#!/bin/sh
# dram with the libraries of this folder.
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib" exec "$here/build/release/dram" "$@"
EOF
chmod +x "$tree/dram"

# Programs that hold the same kernels lie side by side, within the compressor's reach.
tar -C "$work" --sort=name --owner=0 --group=0 -cf - dram-gpu | xz -T1 -6 --lzma2=preset=6,dict=192MiB >"$file"
bytes=$(stat -c %s "$file")
[ "$bytes" -le "$most" ] || { echo "gpu_bundle: $file has $bytes bytes, more than $most" >&2; exit 1; }

# It must run where it is unpacked, with nothing of this tree.
mkdir "$work/there"
tar -C "$work/there" -xf "$file"
(cd / && env -i PATH=/usr/bin:/bin "$work/there/dram-gpu/dram" doctor >"$work/doctor.txt") ||
  { cat "$work/doctor.txt" >&2; echo "gpu_bundle: the unpacked dram does not run" >&2; exit 1; }
if command -v python3 >/dev/null; then # for who has no xz
  mkdir "$work/python"
  python3 -m tarfile -e "$file" "$work/python" 2>/dev/null
  [ -x "$work/python/dram-gpu/scripts/gpu_check.sh" ] && diff -r "$work/there" "$work/python" >/dev/null ||
    { echo "gpu_bundle: python3 unpacks $file otherwise than tar" >&2; exit 1; }
fi
echo "$file: $bytes bytes, $(du -sm "$work/there" | cut -f1) MiB unpacked; its dram runs:"
grep '^GPU' "$work/doctor.txt"
