# shellcheck shell=bash
# Names, folders and addresses of the cluster. Every other file has them from here.

home=${MILLRACE_E2E_HOME:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/millrace/kubernetes}
bin=$home/bin          # what `build` makes
state=$home/cluster    # what a running cluster has; removed by `down`
logs=$home/logs        # one file per process, of the last cluster that ran here
name=millrace-e2e      # of the link on the machine, and of the folder in each hierarchy of control groups

# One block of 65,536 addresses holds everything.
block=${MILLRACE_E2E_NETWORK:-10.213}
control=$block.0.1               # API server, DNS
machine=$block.0.254             # this machine, as pods see it
pods=$block.128.0/17             # all pods
services=$block.64.0/18
first_service=$block.64.1        # the API server's own Service
dns_service=$block.64.10

# Folders of the machine in whose place each node sees its own.
private_folders="/var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log"

nodes="1 2"
node_name() { echo "node$1"; }
node_address() { echo "$block.0.$((10 + $1))"; }
node_pods() { echo "$block.$((128 + $1)).0/24"; }

# As the cluster's administrator, with nothing of whoever calls.
kubectl() { env -i "HOME=$state" "$bin/kubectl" --kubeconfig "$state/admin.kubeconfig" "$@"; }

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }