# shellcheck shell=bash
# part NAME COMMAND...: a process of the cluster in the background, with a log of its own. When it ends, `ended` says so: none does
# before the cluster itself.
part() {
    local part=$1
    shift
    (
        # Nothing of whoever started the cluster: no proxies, no secrets.
        env -i "PATH=$bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$state" "$@" >"$logs/$part.log" 2>&1 </dev/null && code=0 || code=$?
        echo "$part ended with $code" >>"$state/ended"
    ) 8>&- 9>&- &
}

# until_it SECONDS COMMAND...: waits until the command succeeds, looking each twentieth of a second.
until_it() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}
