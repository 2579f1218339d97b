# shellcheck shell=bash
# Beginning and end of the cluster. Whoever holds descriptor 8, the lock, may begin one; the cluster's process 1 holds it on.

open_lock() {
    mkdir -p "$home"
    exec 8>>"$home/lock"
}

# start [LEASH...]: begins a cluster and waits until it is usable. The lock is ours. A session of its own keeps Ctrl-C from it.
start() {
    sweep
    addresses_are_free
    rm -rf "$logs"
    mkdir -p "$state" "$logs"
    certificates
    "$here/image.py" --out "$state/pause.tar" --ref localhost/pause:1 "$bin/pause=/pause"
    exec 9</proc/self/ns/net
    setsid "$@" unshare --pid --net --mount --uts --ipc --fork --kill-child --mount-proc -- "$here/lib/inside.sh" >"$logs/cluster.log" 2>&1 </dev/null &
    echo "$! $(began $!)" >"$state/process"
    disown # its end is no news
    exec 9<&-
    await_usable 120 || { stop; exit 1; }
    : >"$state/usable"
}

# When a process began, unless it has ended: with that, its number is a name. The command in parentheses may have blanks in it.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# The cluster's process on the machine, when it lives.
process() {
    local pid start
    read -r pid start 2>/dev/null <"$state/process" || return 1
    [ -n "$start" ] && [ "$(began "$pid")" = "$start" ] && echo "$pid"
}

# await_usable SECONDS
await_usable() {
    local end=$((SECONDS + $1)) why=
    until usable; do
        process >/dev/null || why="its process 1 has ended"
        [ $SECONDS -lt $end ] || why="it is not usable after $1 s"
        [ ! -s "$state/ended" ] || why=$(paste -sd , "$state/ended")
        if [ -n "$why" ]; then
            tail -n 5 "$logs"/*.log >&2
            say "the cluster did not come up: $why; logs are in $logs"
            return 1
        fi
        sleep 0.1
    done
}

# Controllers work (the namespace has its account), and every node takes pods.
usable() {
    [ -e "$state/api-is-ready" ] || return 1
    local nodes_taints node
    kubectl --request-timeout 5s get serviceaccount default >/dev/null 2>&1 || return 1
    nodes_taints=$(kubectl --request-timeout 5s get nodes -o 'jsonpath={range .items[*]}{.metadata.name}={.spec.taints} {end}' 2>/dev/null) || return 1
    for node in $nodes; do
        case " $nodes_taints" in *" $(node_name "$node")= "*) ;; *) return 1 ;; esac
    done
}

# Ends it, with everything that runs in it, and removes what it had.
stop() {
    end_process
    sweep
}

# Its child is process 1 of the cluster. That has ended when all others have, and the process itself after it.
end_process() {
    local pid end=$((SECONDS + 30))
    pid=$(process) || return 0
    # shellcheck disable=SC2046 # none or one
    kill -KILL $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    while process >/dev/null; do
        [ $SECONDS -lt $end ] || fail "process $pid of the cluster does not end"
        sleep 0.02
    done
}

# What is left of a cluster that has ended, in whatever way.
sweep() {
    local folder
    # A network namespace lives on until the last connection in it has timed out, and its end of the link with it.
    ! ip link show "$name" >/dev/null 2>&1 || ip link del "$name"
    ! grep -qF " $state/" /proc/mounts || fail "something is mounted below $state: look at /proc/mounts and unmount it"
    for folder in $(hierarchies); do
        remove_groups "$folder/$name" || fail "there are still processes in $folder/$name"
    done
    if [ -e "$state/made" ]; then
        xargs rmdir --ignore-fail-on-non-empty <"$state/made" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$state"
}

# remove_groups FOLDER: a group can be removed a moment after its last process has ended
remove_groups() {
    local end=$((SECONDS + 10))
    while [ -d "$1" ]; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && continue
        [ $SECONDS -lt $end ] || return 1
        sleep 0.02
    done
}

addresses_are_free() {
    local route
    route=$(ip -4 -o route show root "$block.0.0/16"; ip -4 -o route show match "$block.0.0/16" | grep -v '^default' || true)
    [ -z "$route" ] || fail "addresses $block.0.0/16 are in use here ($route): choose others, for example MILLRACE_E2E_NETWORK=10.214"
}
