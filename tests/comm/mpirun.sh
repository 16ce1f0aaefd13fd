#!/usr/bin/env bash
# Runs a program as N ranks of this machine, as a test wants them: as root too, more than there are cores, not bound to
# cores, over shared memory alone. 77: there is no MPI to run it with.
# usage: mpirun.sh N PROGRAM [ARGUMENT ...]
set -euo pipefail
skip() { echo "skipped: $1"; exit 77; }
command -v mpirun >/dev/null || skip "mpirun is not installed (scripts/deps.sh --tests)"
[ -z "${DRAM_MODULES:-}" ] || [ -e "$DRAM_MODULES/dram_mpi.so" ] || skip "there is no $DRAM_MODULES/dram_mpi.so: the build has DRAM_MPI=OFF"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1
export OMPI_MCA_btl_vader_single_copy_mechanism=none # needs ptrace's rights, which containers do not give
# Stacks go through a libc without symbols to the libraries of lsan.supp.
export ASAN_OPTIONS="fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$(dirname "$(realpath "$0")")/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
exec mpirun -n "$@"
