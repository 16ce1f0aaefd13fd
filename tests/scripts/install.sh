#!/usr/bin/env bash
# What `cmake --install BUILD` gives works from another folder: install.sh BUILD
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install.sh: $1"; exit 1; }
build=$(realpath "$1")
cmake --install "$1" --prefix "$work/usr" >"$work/log" || fail "$(cat "$work/log")"
configs=$work/usr/share/dram/configs
diff -r "$(dirname "$0")/../../configs" "$configs" || fail "the configs are others"
mkdir "$work/elsewhere"
cd "$work/elsewhere"
export PATH="$work/usr/bin:$PATH"
[ "$(command -v dram)" = "$work/usr/bin/dram" ] || fail "no program"
ldd "$work/usr/bin/dram" >"$work/log"
grep -q libopenblas "$work/log" && ! grep -qiE 'mpi|nccl' "$work/log" || fail "it links $(cat "$work/log")"
if [ -e "$build/dram_mpi.so" ]; then # the program finds its module
  dram doctor >"$work/log"
  grep -q "^MPI  .*, by $work/usr/bin/../lib/dram/dram_mpi.so$" "$work/log" || fail "$(cat "$work/log")"
fi

# The quickstart, small and short. Its teacher is found beside it, its scenes are named here.
dram synth scenes/train --count 4 --seed 1
dram synth scenes/val --count 2 --seed 2
small=(threads=2 data.size=64 sam_distill.sam_input_size=64 sam_distill.fidelity_images=0 train.batch_size=2 train.steps=2)
data=(data.train.images=scenes/train/images data.train.labels=scenes/train/labels data.val.images=scenes/val/images
  data.val.labels=scenes/val/labels)
dram plan "$configs/quickstart.yaml" >"$work/log"
dram train "$configs/quickstart.yaml" "${small[@]}" "${data[@]}" >"$work/log"
dram eval "$configs/quickstart.yaml" "${small[@]}" "${data[@]}" --weights runs/quickstart/student.safetensors >"$work/log"
grep -q '^mIoU ' "$work/log" || fail "$(cat "$work/log")"

# With a copy of the configs, the commands of scripts/quickstart.sh as they are, and the same student.
cp -r "$configs" .
dram train configs/quickstart.yaml "${small[@]}" name=copy >"$work/log"
cmp runs/quickstart/student.safetensors runs/copy/student.safetensors || fail "the copy's student is another"
echo "the installed dram works from another folder"
