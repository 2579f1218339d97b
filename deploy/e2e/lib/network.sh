# shellcheck shell=bash
# network: run by process 1 of the cluster, in the cluster's own network namespace, with the machine's as descriptor 9.
#
#   machine                    cluster                             node N
#   millrace-e2e .254 -------- bridge .1 (API server, DNS) ------- eth0 .1N -- pods, each on a bridge that CNI makes
#
# Nothing is masqueraded on its way to a pod, and the machine is on no route to anywhere else: pods are offline.

network() {
    ip link set lo up
    ip link add nodes type bridge
    ip addr add "$control/24" dev nodes
    ip link set nodes up

    on_machine ip link add "$name" type veth peer name machine netns 1
    ip link set machine master nodes up
    on_machine ip addr add "$machine/24" dev "$name"
    on_machine ip link set "$name" up

    mkdir -p /run/netns
    local node other
    for node in $nodes; do
        link_node "$node"
    done
    for node in $nodes; do
        route "" "$node"
        on_machine ip route add "$(node_pods "$node")" via "$(node_address "$node")"
        for other in $nodes; do
            [ "$other" = "$node" ] || route "-n $(node_name "$node")" "$other"
        done
    done
    # Any node knows the way to a Service.
    ip route add "$services" via "$(node_address 1)"
    on_machine ip route add "$services" via "$(node_address 1)"
}

on_machine() { nsenter --net=/proc/self/fd/9 -- "$@"; }

link_node() {
    local node
    node=$(node_name "$1")
    ip netns add "$node"
    ip link add "$node" type veth peer name eth0 netns "$node"
    ip link set "$node" master nodes up
    ip -n "$node" link set lo up
    ip -n "$node" link set eth0 up
    ip -n "$node" addr add "$(node_address "$1")/24" dev eth0
    ip -n "$node" route add default via "$machine"
}

# route [-n NAMESPACE] NODE: to the pods of a node
# shellcheck disable=SC2086 # the namespace is two words
route() { ip $1 route add "$(node_pods "$2")" via "$(node_address "$2")"; }
