# shellcheck shell=bash
# control: etcd, the API server, what works through it, and DNS, as processes in the cluster's network namespace.

control() {
    part etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
    api_server
    until_it 120 kubectl get --raw /readyz || { echo "the API server is not ready after 120 s" >>"$state/ended"; return 1; }
    : >"$state/api-is-ready" # the nodes wait for this
    controllers
    part kube-scheduler kube-scheduler --kubeconfig "$state/scheduler.kubeconfig" --leader-elect=false --bind-address 127.0.0.1 \
        --authentication-kubeconfig "$state/scheduler.kubeconfig" --authorization-kubeconfig "$state/scheduler.kubeconfig"
    dns
}

# Aggregated APIs are called at their pods' addresses: there is no kube-proxy in this network namespace.
api_server() {
    local pki=$state/pki
    part kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 0.0.0.0 --advertise-address "$control" \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$pki/accounts.key" --service-account-signing-key-file "$pki/accounts.key" \
        --service-cluster-ip-range "$services" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
        --enable-aggregator-routing --requestheader-client-ca-file "$pki/front-proxy-ca.crt" --requestheader-allowed-names front-proxy \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- \
        --proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" --profiling=false
}

# With the usual limits on requests the controllers start one after another, which takes as long as all the rest; a test has no
# half minute to wait for the autoscaler.
controllers() {
    local own=$state/controllers.kubeconfig pki=$state/pki
    part kube-controller-manager kube-controller-manager --kubeconfig "$own" --authentication-kubeconfig "$own" --authorization-kubeconfig "$own" \
        --leader-elect=false --bind-address 127.0.0.1 --profiling=false --kube-api-qps 500 --kube-api-burst 1000 --node-monitor-period 1s \
        --use-service-account-credentials --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/accounts.key" \
        --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
        --flex-volume-plugin-dir "$state/volume-plugins" --horizontal-pod-autoscaler-sync-period 1s --horizontal-pod-autoscaler-downscale-stabilization 10s
}

# A process here in place of pods: a Service whose endpoint is written by hand leads to it.
dns() {
    cat >"$state/Corefile" <<END
. {
    bind $control
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $state/dns.kubeconfig
        pods insecure
    }
}
END
    sed -e "s/CONTROL/$control/" -e "s/DNS_SERVICE/$dns_service/" "$here/dns.yaml" | kubectl apply -f - >/dev/null
    part dns coredns -conf "$state/Corefile"
}
