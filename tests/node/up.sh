#!/bin/bash
# The first process in the namespaces of a whole cluster. It starts the control plane and one node, runs a command, and
# exits with the command's status. The kernel then kills all other processes. run.sh creates the namespaces and calls:
#   up.sh COMMAND...    with KUBECONFIG set; SYMBOLON_NODE_{CGROUP,LOGS,IMAGES} come from run.sh
#
# All files are in memory, below /run of this mount namespace. The network has no connection to the outside. Pods,
# Services and the API server reach each other, and COMMAND reaches all of them.
set -eu
API=10.210.0.2 # this node
PODS=10.244.0.0/24
SERVICES=10.96.0.0/16
D=/run/symbolon
began=${EPOCHREALTIME/./}

say() { echo "node: $*" >&2; }
seconds() { local now=${EPOCHREALTIME/./}; printf '%d.%d' $(((now - began) / 1000000)) $(((now - began) / 100000 % 10)); }

# --- the namespaces -----------------------------------------------------------------------------------------------
# These settings have no namespace, and the kubelet would set them for the whole machine. So it gets files with the
# values that it wants.
shield_tunables() {
  local pair file
  for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$D/tunables/${pair%=*}
    mkdir -p "${file%/*}"
    echo "${pair#*=}" >"$file"
    [ ! -e "/proc/sys/${pair%=*}" ] || mount --bind "$file" "/proc/sys/${pair%=*}"
  done
}

prepare() {
  mount --make-rprivate /
  local folder
  for folder in /run /var/log /var/lib/kubelet /var/lib/cni; do mount -t tmpfs tmpfs $folder; done
  mkdir -p /run/netns $D
  chmod 700 $D
  shield_tunables
  hostname node
  ip link set lo up
  # The kubelet needs a link with a default route. This one leads nowhere.
  ip link add uplink type veth peer name nowhere
  ip address add $API/24 dev uplink
  ip link set nowhere up
  ip link set uplink up
  ip route add default via 10.210.0.1
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

# --- certificates and configuration -------------------------------------------------------------------------------
certificate() { # NAME SUBJECT [SUBJECT-ALT-NAMES]
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$1.key" -out "$1.crt" -days 365 -subj "$2" \
    -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=clientAuth,serverAuth ${3:+-addext subjectAltName=$3} 2>>openssl.log
}

kubeconfig() { # NAME: of the certificate
  cat >"$1.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: node
clusters: [{name: node, cluster: {server: "https://$API:6443", certificate-authority: $D/ca.crt}}]
users: [{name: $1, user: {client-certificate: $D/$1.crt, client-key: $D/$1.key}}]
contexts: [{name: node, context: {cluster: node, user: $1}}]
K
}

certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout ca.key -out ca.crt -days 365 -subj /CN=symbolon-node-ca \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>>openssl.log
  openssl genrsa -out sa.key 2048 2>>openssl.log
  certificate apiserver /CN=kube-apiserver IP:$API,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
  certificate kubelet /O=system:nodes/CN=system:node:node DNS:node,IP:$API
  certificate admin /O=system:masters/CN=admin
  certificate controllers /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  certificate proxy /CN=system:kube-proxy
  local name
  for name in kubelet admin controllers scheduler proxy; do kubeconfig $name; done
}

configuration() {
  mkdir -p cni
  # Every pod has its own link, so traffic between pods is routed, and kube-proxy's rules see it without br_netfilter.
  cat >cni/10-pods.conflist <<K
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {
  "type": "host-local", "dataDir": "$D/cni-addresses", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
K
  cat >containerd.toml <<K
version = 2
root = "$D/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$D/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:test"
  # Without CAP_SYS_RESOURCE a process cannot lower the OOM score of another below its own.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$D/cni"
K
  cat >kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $D/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $D/kubelet.crt
tlsPrivateKeyFile: $D/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /$SYMBOLON_NODE_CGROUP
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
volumePluginDir: $D/volume-plugins
resolvConf: ""
clusterDNS: [$API]
clusterDomain: cluster.local
# A short sync period writes changed Secrets into their files soon. The thresholds prevent evictions on a busy machine.
syncFrequency: 5s
nodeStatusUpdateFrequency: 5s
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
imageGCHighThresholdPercent: 100
maxPods: 60
K
  cat >proxy.yaml <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $D/proxy.kubeconfig}
hostnameOverride: node
detectLocalMode: ClusterCIDR
clusterCIDR: $PODS
# Do not change the limits of the machine.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
K
}

# --- processes ----------------------------------------------------------------------------------------------------
spawn() { # NAME PROGRAM ARGUMENT...
  local name=$1
  shift
  "$@" >"$SYMBOLON_NODE_LOGS/$name.log" 2>&1 </dev/null &
  echo $! >"$name.pid"
}

await() { # WHAT LOG COMMAND...: waits for at most 90 s
  local what=$1 log=$2 patience=900
  shift 2
  until "$@" >/dev/null 2>&1; do
    patience=$((patience - 1))
    if [ $patience = 0 ]; then
      tail -n 15 "$SYMBOLON_NODE_LOGS/$log.log" >&2
      say "not in time: $what; the lines above are from target/node/log/$log.log"
      return 1
    fi
    sleep 0.1
  done
  say "$what after $(seconds) s"
}

images() {
  local archive
  for archive in "$SYMBOLON_NODE_IMAGES"/*.tar; do
    ctr --address /run/containerd.sock --namespace k8s.io images import --snapshotter overlayfs "$archive" >>"$SYMBOLON_NODE_LOGS/images.log" 2>&1 ||
      { tail -n 3 "$SYMBOLON_NODE_LOGS/images.log" >&2; say "cannot import $archive"; return 1; }
  done
}

node_is_ready() { kubectl get node node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True; }

control_plane() {
  spawn etcd etcd --data-dir=etcd --unsafe-no-fsync=true --log-level=warn \
    --listen-client-urls=unix://etcd.sock --advertise-client-urls=unix://etcd.sock --listen-peer-urls=unix://etcd-peer.sock \
    --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380
  spawn containerd containerd --config containerd.toml
  certificates
  await "etcd listens" etcd test -S etcd.sock
  spawn apiserver kube-apiserver --etcd-servers=unix://etcd.sock --secure-port=6443 --bind-address=0.0.0.0 --advertise-address=$API \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
    --service-cluster-ip-range=$SERVICES --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement \
    --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key
  await "the API server is ready" apiserver kubectl get --raw /readyz
  spawn controllers kube-controller-manager --kubeconfig=controllers.kubeconfig --leader-elect=false --secure-port=0 \
    --use-service-account-credentials=true --service-account-private-key-file=sa.key --root-ca-file=ca.crt \
    --kube-api-qps=300 --kube-api-burst=600
  spawn scheduler kube-scheduler --kubeconfig=scheduler.kubeconfig --leader-elect=false --bind-address=127.0.0.1 \
    --kube-api-qps=300 --kube-api-burst=600
}

node() {
  await "containerd responds" containerd ctr --address /run/containerd.sock version
  images
  spawn kubelet kubelet --config=kubelet.yaml --kubeconfig=kubelet.kubeconfig --hostname-override=node --node-ip=$API
  spawn proxy kube-proxy --config=proxy.yaml
  spawn dns python3 "$OLDPWD/tests/node/dns.py" $API
  await "DNS listens" dns grep -q listening "$SYMBOLON_NODE_LOGS/dns.log"
  await "the node is ready" kubelet node_is_ready
  await "the default ServiceAccount exists" controllers kubectl get serviceaccount default
}

trap 'exit 130' INT TERM HUP
umask 022
prepare
cd $D
export KUBECONFIG=$D/admin.kubeconfig KUBECACHEDIR=$D/kubectl
export HELM_CACHE_HOME=$D/helm/cache HELM_CONFIG_HOME=$D/helm/config HELM_DATA_HOME=$D/helm/data
configuration
control_plane
node
cd "$OLDPWD"
# The command runs as a child, so that the shell stays the first process: it reaps orphans, and signals reach it.
status=0
"$@" || status=$?
exit $status
