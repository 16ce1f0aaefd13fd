#!/usr/bin/env bash
# What the hot loops of a CUDA file are made of: compiles it for each compute capability (90), disassembles it, and
# prints for each kernel with tensor cores its registers and spills, and of its largest loop that has an HMMA the
# instructions by kind and the issue slots for a unit of work (scripts/sass.py says which). Needs nvcc and nvdisasm:
# NVDISASM, or the PATH's, or the one of PyPI's triton: python3 -m venv DIR && DIR/bin/pip install --no-deps triton; then
# NVDISASM=$(ls DIR/lib/python3*/site-packages/triton/backends/nvidia/bin/nvdisasm). No GPU is needed.
# usage: sass.sh FILE.cu [PART_OF_A_KERNEL'S_NAME [CAPABILITY ...]]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 any "$@"
cd "$(dirname "$0")/.."
file=$1 part=${2:-}
capabilities=("${@:3}")
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
nvdisasm=${NVDISASM:-$(command -v nvdisasm || true)}
[ -f "$file" ] || { echo "sass.sh: there is no $file" >&2; exit 2; }
[ -x "$nvcc" ] || { echo "sass.sh: no nvcc: set NVCC" >&2; exit 77; }
[ -x "$nvdisasm" ] || { echo "sass.sh: no nvdisasm: set NVDISASM (the head of this script says where it is had)" >&2; exit 77; }
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
# As the library is made: machine code of every GPU comes from the PTX of compute capability 8.0.
for capability in "${capabilities[@]:-90}"; do
  "$nvcc" -D_GNU_SOURCE -DDRAM_VERSION='"sass"' -I. -Isrc -std=c++17 -O3 -DNDEBUG --resource-usage -gencode "arch=compute_80,code=sm_$capability" \
    -cubin -o "$room/cubin" "$file" 2>"$room/ptxas" || { cat "$room/ptxas" >&2; exit 1; }
  "$nvdisasm" -c "$room/cubin" >"$room/sass"
  echo "## $file, sm_$capability"
  c++filt <"$room/ptxas" >"$room/ptxas.names"
  sed 's/\(\.section\t*\.text\.\)/\1 /' "$room/sass" | c++filt >"$room/sass.names"
  python3 scripts/sass.py "$room/sass.names" "$room/ptxas.names" "$part"
done
