#!/bin/bash
# Starts and supervises one temporary control plane on loopback: etcd, kube-apiserver, kube-controller-manager.
#   up.sh BIN DIR      BIN: the folder with the programs (build.sh prints it); DIR: a new folder, removed at the end
#   up.sh              by hand: finds BIN and creates DIR; ends with Ctrl-D
# Prints `kubeconfig PATH` and `ready`. Then reads commands and answers each with a line `ok` or `error …`:
#   stop NAME      SIGTERM, and wait until it ends             kill NAME      SIGKILL
#   pause NAME     SIGSTOP: connections stay open              resume NAME    SIGCONT
#   start NAME     start it again; for the apiserver, wait until it is ready
#   NAME: etcd, apiserver or controllers
# When standard input ends, because the test process has ended, everything is stopped and removed.
# If this script is killed, the kernel kills its children.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "test cluster: $*" >&2; }
die() { say "$@"; exit 1; }
need() { command -v "$1" >/dev/null || die "'$1' is needed: install Debian's $2"; }
need openssl openssl
need setpriv util-linux

BIN=${1:-$("$here/build.sh")}
[ -n "$BIN" ] || exit 1 # build.sh has reported the reason
DIR=${2:-$(mktemp -d "${TMPDIR:-/tmp}/symbolon-cluster.XXXXXX")}
cd "$DIR"
DIR=$PWD
# A socket's path may have at most 107 bytes, so etcd's is relative to this folder, where all programs run.
PORT=0
declare -A PID=()

end() {
  trap - EXIT
  trap '' INT TERM HUP
  [ ${#PID[@]} -eq 0 ] || kill -KILL "${PID[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  cd / && rm -rf "$DIR"
}
trap end EXIT
trap 'exit 1' INT TERM HUP

# --- certificates and configuration -------------------------------------------------------------------------------
certificate() { # NAME SUBJECT [SUBJECT-ALT-NAMES]
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$1.key" -out "$1.crt" -days 365 -subj "$2" \
    -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=clientAuth,serverAuth ${3:+-addext subjectAltName=$3} 2>>openssl.log
}

certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout ca.key -out ca.crt -days 365 -subj /CN=symbolon-test-ca \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>>openssl.log
  certificate apiserver /CN=kube-apiserver IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc
  certificate admin /O=system:masters/CN=admin
  certificate controllers /CN=system:kube-controller-manager
  openssl genrsa -out sa.key 2048 2>>openssl.log
}

kubeconfig() { # NAME: of the certificate. The file appears complete.
  cat > "$1.kubeconfig.tmp" <<K
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$PORT", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: test, context: {cluster: test, user: $1, namespace: default}}]
K
  mv "$1.kubeconfig.tmp" "$1.kubeconfig"
}

# The audit log, in which tests count requests, without those of the control plane itself.
audit_policy() {
  cat > audit-policy.yaml <<'K'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: ["system:apiserver", "system:kube-controller-manager", "system:anonymous"]
  - level: None
    userGroups: ["system:serviceaccounts:kube-system"]
  - level: Metadata
K
}

# Chooses a free port below the range that Linux uses for outgoing connections.
choose_port() {
  local low hex
  read -r low _ < /proc/sys/net/ipv4/ip_local_port_range
  [ "$low" -gt 12000 ] || low=32768
  while :; do
    PORT=$((10000 + (RANDOM * 32768 + RANDOM) % (low - 10000)))
    printf -v hex ':%04X ' "$PORT"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$hex" || return 0
  done
}

# --- processes ----------------------------------------------------------------------------------------------------
spawn() { # NAME PROGRAM ARGUMENT...
  local name=$1 program=$2
  shift 2
  setpriv --pdeathsig KILL -- "$BIN/$program" "$@" >>"$name.log" 2>&1 </dev/null &
  PID[$name]=$!
  echo $! > "$name.pid"
}

start_etcd() {
  spawn etcd etcd --data-dir=etcd --unsafe-no-fsync=true --log-level=warn --quota-backend-bytes=4294967296 \
    --listen-client-urls=unix://etcd.sock --advertise-client-urls=unix://etcd.sock --listen-peer-urls=unix://etcd-peer.sock \
    --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380
}

start_apiserver() {
  local authentication=()
  # A test writes this file, and then starts the API server again.
  [ ! -e authentication.yaml ] || authentication=(--authentication-config=authentication.yaml)
  spawn apiserver kube-apiserver --etcd-servers=unix://etcd.sock --secure-port="$PORT" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
    --endpoint-reconciler-type=none --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=RBAC --allow-privileged=true \
    --enable-admission-plugins=OwnerReferencesPermissionEnforcement \
    --audit-policy-file=audit-policy.yaml --audit-log-path=audit.log --audit-log-maxsize=100000 \
    "${authentication[@]}" ${SYMBOLON_FEATURE_GATES:+"--feature-gates=$SYMBOLON_FEATURE_GATES"}
}

start_controllers() {
  spawn controllers kube-controller-manager --kubeconfig=controllers.kubeconfig --leader-elect=false --secure-port=0 \
    --use-service-account-credentials=true --service-account-private-key-file=sa.key --root-ca-file=ca.crt \
    --kube-api-qps=300 --kube-api-burst=600
}

running() { [ -n "${PID[$1]:-}" ] && kill -0 "${PID[$1]}" 2>/dev/null; }

# Whether our API server (with a certificate of our CA) is ready. Without credentials this works once RBAC has its
# roles.
answers() {
  printf 'GET /readyz HTTP/1.0\r\n\r\n' |
    openssl s_client -quiet -verify_quiet -verify_return_error -CAfile ca.crt -connect "127.0.0.1:$PORT" 2>/dev/null | grep -q '^HTTP/1.. 200'
}

wait_ready() { # fails if the apiserver ends, or after two minutes
  local until=$((SECONDS + 120))
  until running apiserver && answers; do
    running apiserver || return 1
    [ $SECONDS -lt $until ] || return 1
    sleep 0.05
  done
}

signal() { # SIGNAL NAME: sends it and waits for the end; after 2 s (open watches) sends SIGKILL
  local pid=${PID[$2]:-} patience=20
  [ -n "$pid" ] || return 0
  { # hides the shell's messages about killed children
    kill "-$1" "$pid" || true
    while kill -0 "$pid"; do
      patience=$((patience - 1))
      [ $patience -gt 0 ] || kill -KILL "$pid" || true
      sleep 0.1
    done
    wait "$pid" || true
  } 2>/dev/null
  unset "PID[$2]"
}

start() { # NAME
  running "$1" && { echo "error $1 is running already"; return; }
  rm -f "$1.pid"
  "start_$1"
  if [ "$1" = apiserver ] && ! wait_ready; then echo "error the apiserver did not become ready: $(tail -n 1 apiserver.log)"; else echo ok; fi
}

# Waits until no thread of a process runs, because a busy machine delivers the signal late.
stopped() {
  while grep -hs '^State:' /proc/"$1"/task/*/status | grep -qEv '(T \(stopped\)|Z \(zombie\)|X \(dead\))'; do sleep 0.01; done
}

obey() { # VERB NAME
  case ${2:-} in etcd | apiserver | controllers) ;; *) echo "error no such program: '${2:-}'"; return ;; esac
  case $1 in
    start) start "$2" ;;
    stop) signal TERM "$2"; echo ok ;;
    kill) signal KILL "$2"; echo ok ;;
    pause) kill -STOP "${PID[$2]}" && stopped "${PID[$2]}" && echo ok || echo "error $2 is not running" ;;
    resume) kill -CONT "${PID[$2]}" && echo ok || echo "error $2 is not running" ;;
    *) echo "error no such command: '$1'" ;;
  esac
}

bring_up() {
  start_etcd # first: an API server that starts before etcd listens retries only a second later
  certificates
  audit_policy
  until [ -S etcd.sock ] || ! running etcd; do sleep 0.02; done
  local attempt
  for attempt in 1 2 3 4 5; do # another program may have taken the port
    choose_port
    start_apiserver
    if wait_ready; then break; fi
    running etcd || { tail -n 5 etcd.log >&2; die "etcd ended, see its last lines above"; }
    if running apiserver || [ "$attempt" = 5 ] || ! grep -q 'address already in use' apiserver.log; then
      tail -n 5 apiserver.log >&2
      die "the API server did not become ready, see its last lines above"
    fi
    mv apiserver.log "apiserver.$attempt.log"
  done
  kubeconfig admin
  kubeconfig controllers
  start_controllers
}

umask 077
bring_up
echo "kubeconfig $DIR/admin.kubeconfig"
echo ready
while read -r verb name; do obey "$verb" "$name"; done
