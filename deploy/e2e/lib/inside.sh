#!/usr/bin/env bash
# Process 1 of the cluster, in namespaces of its own: when it ends, in whatever way, the kernel ends every process of the cluster, and
# with the last of them its mounts, its networks and its link on the machine are gone.
#
# Descriptor 8 is the lock of the cluster, held for as long as this lives; 9 is the machine's network namespace.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for file in settings check parts network control; do
    . "$here/lib/$file.sh"
done

mount -t tmpfs tmpfs /run
network
for node in $nodes; do
    nsenter --net="/run/netns/$(node_name "$node")" -- \
        unshare --pid --mount --uts --ipc --fork --kill-child --mount-proc -- "$here/lib/node.sh" "$node" 8>&- 9>&- >"$logs/$(node_name "$node").log" 2>&1 &
done
control
wait
