# The habits. `just` lists them.

_list:
    @just --list

# Serve the quickstart from its directory.
dev *args:
    cargo run --release -- dev examples/quickstart {{args}}

# All tests, the ones against a real API server included.
test *args:
    cargo test --locked {{args}}

# What a commit must pass: quick.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets -- --deny warnings
    cargo test --locked --lib --test architecture --test generated --test rules

# Write what is generated: crds/, the chart's definitions, the kustomize base; docs/resources.md, metrics.md and cli.md.
generate:
    cargo run --quiet -- crds --output crds
    cp crds/*.yaml charts/symbolon/files/crds/
    deploy/kustomize/generate
    cargo run --quiet -- crds --format markdown > docs/resources.md
    cargo run --quiet -- metrics > docs/metrics.md
    cargo run --quiet -- manual > docs/cli.md

# A whole cluster with our image in real pods; as root. `just node --quick -- bash` to look around.
node *args:
    tests/node/run.sh {{args}}

# The container image, as an OCI archive in target/image.
image *args:
    image/build.sh {{args}}

# Everything that CI runs.
ci:
    .ci/run

# Licences, bans, sources, advisories of the dependencies.
deny:
    .ci/deny

# Load the built server over loopback beside bare limits: CPU seconds of the server per 1,000 requests.
bench *args:
    cargo bench --bench load -- {{args}}

# Floods by strangers and tenants against the release build: memory, and what others are answered meanwhile.
floods *args:
    cargo bench --bench floods -- {{args}}

# Benchmarks of the core beside bare limits.
bench-core *args:
    cargo bench --bench core -- {{args}}

# Issuing and serving on a real API server beside the bare requests.
bench-cluster *args:
    cargo bench --bench cluster -- {{args}}

# The deep search of the issuing protocol; the suite runs a shallower one. DEEP=actions,faults,policy,share,most
search:
    cargo test --release --test issuing -- --ignored --nocapture

# Coverage-guided targets for all that strangers send, each for so many seconds; needs a nightly toolchain.
fuzz target="all" seconds="60":
    fuzz/run {{target}} {{seconds}}

# The rules of the core, mutated: which mutants no test notices. `just mutants --sample 4` for every fourth.
mutants *args:
    tests/mutants/run {{args}}

# The operator's leader killed many times at any moment, on a real API server; the suite kills it twice.
kills rounds="20":
    SYMBOLON_KILLS={{rounds}} cargo test --locked --test cluster -- --nocapture killing_the_leader

# A cluster to play with: etcd, API server and controllers; ctrl-D ends it.
cluster:
    tests/cluster/up.sh
