# guard <run folder>
#
# Waits until the other end of its input closes, which the system does for a starter that ends in whatever way, and then stops
# every process that the folder names: phase 1 (services, tools), then phase 2 (Kafka, Postgres), each by its own signal and, when
# that does not help, by SIGKILL. Its output is the lock file of the stack: the lock is free when both have ended.
trap '' INT TERM HUP QUIT
run=$1
while read -r _; do :; done
: >"$run/closed"

# The process of a file, when it still is that process and no zombie.
alive() {
    read -r pid start phase signal 2>/dev/null <"$1" || return 1
    read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
    began ${stat##*) }
}
began() {
    [ "$1" != Z ] && shift 19 && [ "$1" = "$start" ]
}

# stop <phase> <tenths of a second>
stop() {
    tries=$2 groups=
    for file in "$run"/*.pid; do
        alive "$file" && [ "$phase" = "$1" ] && groups="$groups -$pid" && kill -s "$signal" -- "-$pid" 2>/dev/null
    done
    [ -z "$groups" ] && return
    while left "$1"; do
        [ "$tries" -le 0 ] && kill -s KILL -- $groups 2>/dev/null
        tries=$((tries - 1))
        sleep 0.1
    done
    # What a leader has left behind in its group.
    kill -s KILL -- $groups 2>/dev/null
}
left() {
    for file in "$run"/*.pid; do
        alive "$file" && [ "$phase" = "$1" ] && return 0
    done
    return 1
}

stop 1 50
stop 2 150
rm -rf "$run"
