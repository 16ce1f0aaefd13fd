#!/usr/bin/env bash
# Runs a program as two ranks on two hosts that share no memory and meet by TCP: two network namespaces of this machine,
# with a cable between them and a name each. 77: it takes root, iproute2 and MPI.
# usage: two_hosts.sh PROGRAM [ARGUMENT ...]
set -euo pipefail
if [ "$1" = --agent ]; then # what mpirun starts in place of ssh: --agent HOST COMMAND...
  exec ip netns exec "$dram_hosts"b unshare --uts sh -c "hostname node-b; ${*:3}"
fi
skip() { echo "skipped: $1"; exit 77; }
command -v mpirun >/dev/null || skip "mpirun is not installed (scripts/deps.sh --tests)"
command -v ip >/dev/null || skip "ip is not installed (iproute2)"
[ -z "${DRAM_MODULES:-}" ] || [ -e "$DRAM_MODULES/dram_mpi.so" ] || skip "there is no $DRAM_MODULES/dram_mpi.so: the build has DRAM_MPI=OFF"
export dram_hosts=dram$$
trap 'ip netns del "${dram_hosts}a" 2>/dev/null; ip netns del "${dram_hosts}b" 2>/dev/null; true' EXIT
ip netns add "${dram_hosts}a" 2>/dev/null && ip netns add "${dram_hosts}b" || skip "network namespaces are not allowed here"
ip link add cable netns "${dram_hosts}a" type veth peer name cable netns "${dram_hosts}b"
for host in a:1 b:2; do
  ip -n "$dram_hosts${host%:*}" addr add "10.77.0.${host#*:}/24" dev cable
  ip -n "$dram_hosts${host%:*}" link set cable up
  ip -n "$dram_hosts${host%:*}" link set lo up
done
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_plm_rsh_agent="$(realpath "$0") --agent" OMPI_MCA_btl=self,tcp OMPI_MCA_pml=ob1
export OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
# Stacks go through a libc without symbols to the libraries of lsan.supp.
export ASAN_OPTIONS="fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$(dirname "$(realpath "$0")")/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
# mpirun hands its environment over by these alone.
pass=(-x LSAN_OPTIONS)
[ -z "${DRAM_MODULES:-}" ] || pass+=(-x DRAM_MODULES)
ip netns exec "${dram_hosts}a" unshare --uts sh -c 'hostname node-a; exec "$@"' sh \
  mpirun "${pass[@]}" --host 10.77.0.1:1,10.77.0.2:1 -n 2 "$@"
