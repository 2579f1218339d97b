#!/usr/bin/env bash
# Process 1 of one node: containerd, kubelet and kube-proxy, with the folders that they are used to, which are not the machine's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for file in settings check parts; do
    . "$here/lib/$file.sh"
done
index=$1
node=$(node_name "$1")
own=$state/$node

# The parts' well-known folders lead to this node's own.
folders() {
    mount --make-rshared /
    mount -t tmpfs tmpfs /run
    local folder
    for folder in $private_folders; do
        mkdir -p "$own$folder"
        mkdir "$folder" 2>/dev/null && echo "$folder" >>"$state/made"
        mount --bind "$own$folder" "$folder"
    done
    for folder in $(hierarchies); do
        mkdir -p "$folder/$name/$node"
    done
}

# The kubelet wants settings of the kernel that are for the whole machine. It is shown those that it wants.
kernel_settings() {
    local setting
    for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        [ -e "/proc/sys/${setting%=*}" ] || continue
        mkdir -p "$own/sys/$(dirname "$setting")"
        echo "${setting#*=}" >"$own/sys/${setting%=*}"
        mount --bind "$own/sys/${setting%=*}" "/proc/sys/${setting%=*}"
    done
    echo "$node" >/proc/sys/kernel/hostname
    # These are this network namespace's.
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
}

# restrict_oom_score_adj: without the right to lower it runc fails with a message about something else.
containers() {
    mkdir -p "$own/cni"
    cat >"$own/containerd.toml" <<END
version = 2
[grpc]
  address = "$own/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$own/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
END
    cat >"$own/cni/network.conflist" <<END
{"cniVersion": "1.0.0", "name": "$name", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pods "$index")"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
    part "$node-containerd" containerd --config "$own/containerd.toml"
    until_it 60 ctr -a "$own/containerd.sock" version || return 1
    ctr -a "$own/containerd.sock" -n k8s.io images import "$state/pause.tar" >/dev/null
}

# Images are there because they were imported: none is removed for room.
kubelet() {
    local pki=$state/pki
    cat >"$own/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/$node.crt
tlsPrivateKeyFile: $pki/$node.key
containerRuntimeEndpoint: unix://$own/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$name/$node
failCgroupV1: false
failSwapOn: false
clusterDNS: [$dns_service]
clusterDomain: cluster.local
resolvConf: ""
volumePluginDir: $own/volume-plugins
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 5s
maxPods: 200
END
    part "$node-kubelet" kubelet --config "$own/kubelet.yaml" --kubeconfig "$state/$node.kubeconfig" --node-ip "$(node_address "$index")"
}

proxy() {
    cat >"$own/proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $pods
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
conntrack: {maxPerCore: 0}
END
    part "$node-proxy" kube-proxy --config "$own/proxy.yaml"
}

folders
kernel_settings
containers
# One that asks too early waits longer and longer between its tries.
until_it 120 test -e "$state/api-is-ready"
kubelet
proxy
wait
