# shellcheck shell=bash
# Builds what a cluster consists of from the modules that src/go.sum names, and installs it when all of it is there.

# All that decides which binaries are made.
digest() {
    { declare -f compile flags && (cd "$here/src" && cat go.mod go.sum main.go coredns/main.go pause.c); } | sha256sum | cut -d ' ' -f 1
}

built() { [ "$(cat "$bin/digest" 2>/dev/null)" = "$(digest)" ]; }

version_of() { awk -v module="$1" '$1 == module { print $2; exit }' "$here/src/go.mod"; }

build() {
    built && return
    mkdir -p "$home"
    exec 7>"$home/build.lock"
    flock -n 7 || { say "another build is under way; waiting"; flock 7; }
    built && return
    go_is_new
    say "building Kubernetes into $bin: five minutes when nothing is cached"
    local out=$home/build.new
    rm -rf "$out"
    mkdir -p "$out" "$bin"
    compile "$out"
    install_all "$out"
    exec 7>&-
}

go_is_new() {
    local wants has
    wants=$(awk '$1 == "go" { print $2 }' "$here/src/go.mod")
    command -v go >/dev/null || { say "Go is missing: the cluster is built with Go $wants or newer (https://go.dev/dl)"; exit "$unable"; }
    has=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')
    [ "$(printf '%s\n' "$wants" "$has" | sort -V | head -n 1)" = "$wants" ] ||
        { say "Go is too old: the cluster is built with Go $wants or newer (https://go.dev/dl), and this is $has ($(command -v go))"; exit "$unable"; }
}

# compile FOLDER
compile() (
    cd "$here/src"
    # GOFLAGS: what a machine sets for its own builds must not change ours.
    export GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
    nice go build -buildvcs=false -trimpath -ldflags "$(flags)" -o "$1/" . ./coredns helm.sh/helm/v3/cmd/helm
    mv "$1/e2e" "$1/kubernetes"
    cc -O2 -static -s -o "$1/pause" pause.c
)

# What a release's own build writes into its binaries: versions, which clients and charts ask for.
flags() {
    local kubernetes major minor package
    kubernetes=$(version_of k8s.io/kubernetes)
    IFS=.v read -r _ major minor _ <<<"$kubernetes"
    printf -- '-s -w'
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf -- ' -X %s.%s' "$package" "gitVersion=$kubernetes" "$package" "gitMajor=$major" "$package" "gitMinor=$minor" "$package" gitTreeState=clean
    done
    printf -- ' -X helm.sh/helm/v3/internal/version.version=%s' "$(version_of helm.sh/helm/v3)"
    for package in chartutil lint/rules; do
        printf -- ' -X helm.sh/helm/v3/pkg/%s' "$package.k8sVersionMajor=$major" "$package.k8sVersionMinor=$minor"
    done
}

# install_all FOLDER: each by a rename, so that one that runs goes on, and the digest last.
install_all() {
    rm -f "$bin/digest"
    mv -f "$1"/* "$bin/"
    local link
    for link in etcd kubectl kubelet kube-apiserver kube-controller-manager kube-proxy kube-scheduler; do
        ln -sfn kubernetes "$bin/$link"
    done
    rmdir "$1"
    digest >"$bin/digest"
}
