# shellcheck shell=bash
# Whether this machine can run a cluster at all, as far as nothing that is installed would change it.

# EX_UNAVAILABLE: there is nothing wrong here but the machine.
unable=69

# What the machine lacks, a line for each.
lacks() {
    local new='unshare --pid --net --mount --uts --ipc --fork --kill-child' folder
    [ "$(uname -s)" = Linux ] || { echo "Linux (this is $(uname -s))"; return; }
    [ "$(id -u)" = 0 ] || { echo "root: the cluster has namespaces, mounts and a link of its own"; return; }
    $new true 2>/dev/null || { echo "the right to make namespaces ($new)"; return; }
    module overlay && grep -qw overlay /proc/filesystems || echo "overlayfs in the kernel"
    bridges && [ -d /proc/sys/net/bridge ] || echo "br_netfilter in the kernel: packets between pods of a node pass no rules without it"
    [ -n "$(hierarchies)" ] || echo "control groups under /sys/fs/cgroup"
    for folder in $(hierarchies); do
        [ -w "$folder" ] || echo "control groups that can be written ($folder)"
    done
}

# What kube-proxy and the pods' network need, tried in a network namespace that ends with the command.
lacks_network() {
    local rules="add table ip t
        add chain ip t c { type nat hook postrouting priority 100; }
        add rule ip t c meta l4proto tcp numgen random mod 2 vmap { 0: accept, 1: accept }
        add rule ip t c masquerade fully-random"
    unshare --net sh -ec 'ip link add one type bridge; ip link add two type veth peer name three; echo "$1" | nft -f -' sh "$rules" >/dev/null 2>&1 ||
        echo "bridges, veth pairs or nftables with NAT in the kernel"
}

# Only our own network namespaces want rules for what a bridge passes on: the machine's stays as it was without the module.
bridges() {
    [ ! -d /proc/sys/net/bridge ] || return 0
    module br_netfilter
    local it
    for it in arptables iptables ip6tables; do
        echo 0 2>/dev/null >"/proc/sys/net/bridge/bridge-nf-call-$it" || true
    done
}

module() { modprobe -q "$1" 2>/dev/null || true; }

# The folder of each hierarchy of control groups: one in version 2, one per controller in version 1.
hierarchies() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        find -L /sys/fs/cgroup -mindepth 2 -maxdepth 2 -name cgroup.procs -printf '%h\n' 2>/dev/null
    fi
}

check() {
    refuse "$(lacks)"
    "$here/../install-prerequisites.sh" e2e
    refuse "$(lacks_network)"
}

# refuse WHAT: ends when there is something
refuse() {
    [ -z "$1" ] && return
    say "this machine cannot run a cluster; it lacks:"
    say "$1"
    exit "$unable"
}
