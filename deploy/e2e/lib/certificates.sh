# shellcheck shell=bash
# certificates: a CA, a certificate for each process and for us, and kubeconfigs with them. They live as long as the cluster.

# Each kubeconfig, with the subject that RBAC knows its owner by; those of nodes are made for each node.
clients="admin=/O=system:masters/CN=admin
controllers=/CN=system:kube-controller-manager
scheduler=/CN=system:kube-scheduler
proxy=/CN=system:kube-proxy
dns=/CN=millrace:dns"

certificates() (
    umask 077
    mkdir -p "$state/pki"
    cd "$state/pki"
    authority ca
    authority front-proxy-ca
    openssl genrsa -out accounts.key 2048 2>/dev/null

    local api=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
    certificate apiserver ca /CN=kube-apiserver "$api,IP:$first_service,IP:$control"
    certificate apiserver-kubelet ca /O=system:masters/CN=kube-apiserver-kubelet
    certificate front-proxy front-proxy-ca /CN=front-proxy

    local client node
    for client in $clients; do
        certificate "${client%%=*}" ca "${client#*=}"
        kubeconfig "${client%%=*}"
    done
    for node in $nodes; do
        node=$(node_name "$node")
        certificate "$node" ca "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$(node_address "${node#node}")"
        kubeconfig "$node"
    done
)

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }

# authority NAME
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -days 365 -subj "/CN=$1" -out "$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}

# certificate NAME AUTHORITY SUBJECT [NAMES]: with names it is a server's as well.
certificate() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$3" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 365 -out "$1.crt" 2>/dev/null -extfile <(
        echo basicConstraints=critical,CA:FALSE
        echo keyUsage=critical,digitalSignature
        echo "extendedKeyUsage=clientAuth${4:+,serverAuth}"
        echo "${4:+subjectAltName=$4}"
    )
}

# kubeconfig NAME
kubeconfig() {
    cat >"$state/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: $name, cluster: {server: "https://$control:6443", certificate-authority-data: $(base64 -w 0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w 0 "$1.crt"), client-key-data: $(base64 -w 0 "$1.key")}}]
contexts: [{name: $name, context: {cluster: $name, user: $1}}]
current-context: $name
END
}
