#!/usr/bin/env bash
# Boots a throw-away machine with a systemd of its own: boot.sh DIRECTORY NAME.
#
# Its root is this machine's, under an overlay in memory, so it has what is installed
# here and changes nothing. It has no network. It runs until it is powered off; a reboot
# is one. SIGTERM ends all that is left of it. Needs root and systemd-nspawn.
set -euo pipefail
exec unshare --mount --propagation private -- bash -c '
set -euo pipefail
directory=$1 name=$2 group=/sys/fs/cgroup/$2
cd /
mount -t tmpfs -o mode=755 machine "$directory"
mkdir "$directory"/upper "$directory"/work "$directory"/root
mount -t overlay machine -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" "$directory/root"

# What is enabled here does not start there; its identity and log are its own.
root=$directory/root
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/rc?.d/S* "$root"/var/log/journal
rm -rf "$root"/var/lib/mcp-bridge "$root"/etc/mcp-bridge    # of a store here
rm -f "$root"/usr/sbin/policy-rc.d    # a container may forbid packages to start anything
rm -f "$root"/var/lib/man-db/auto-update    # or dpkg indexes every page of this machine
mkdir -p "$root"/var/log/journal
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
echo "$name" >"$root/etc/hostname"

# For this mount namespace alone: the runtime files of nspawn, and cgroups of one
# hierarchy, even if this machine has others.
mount -t tmpfs -o mode=755 machine /run
umount --lazy --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "$group"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1

leave() {
    [ -d "$group" ] || return 0
    grep -q "populated 1" "$group/cgroup.events" && echo 1 >"$group/cgroup.kill"
    for _ in $(seq 500); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
        read -rt 0.02 <> <(:) || true
    done
}
trap leave EXIT
trap "exit 143" TERM

again=133 code=133          # what nspawn ends with when its machine reboots
while [ $code = $again ]; do
    code=0
    find "$group" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null || true
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec systemd-nspawn --quiet --directory="$root" --machine="$name" \
            --register=no --keep-unit --private-network --link-journal=no \
            --resolv-conf=off --timezone=off --console=pipe \
            --capability=CAP_BPF --system-call-filter=bpf \
            --boot systemd.unit=multi-user.target
    ) &
    echo $! >"$directory/../nspawn.pid"
    wait $! || code=$?
done
exit $code
' boot.sh "$@"
