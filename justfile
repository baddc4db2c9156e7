# Commands for contributors. `just` lists them.

_list:
    @just --list

# Serve the quickstart in dev mode.
dev *args:
    cargo run --release -- dev examples/quickstart {{args}}

# Run all tests, including those on a real API server.
test *args:
    cargo test --locked {{args}}

# Run the quick checks that every commit must pass.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets -- --deny warnings
    cargo test --locked --lib --test architecture --test generated --test rules

# Write the generated files: crds/, the chart's definitions, the kustomize base; docs/resources.md, metrics.md and cli.md.
generate:
    cargo run --quiet -- crds --output crds
    cp crds/*.yaml charts/symbolon/files/crds/
    deploy/kustomize/generate
    cargo run --quiet -- crds --format markdown > docs/resources.md
    cargo run --quiet -- metrics > docs/metrics.md
    cargo run --quiet -- manual > docs/cli.md

# Test a whole cluster with our image in real pods; needs root. `just node --quick -- bash` opens a shell.
node *args:
    tests/node/run.sh {{args}}

# Build the container image, as an OCI archive in target/image.
image *args:
    image/build.sh {{args}}

# Run everything that CI runs.
ci:
    .ci/run

# Check licences, bans, sources and advisories of the dependencies.
deny:
    .ci/deny

# Load the built server over loopback, beside bare limits, and print its CPU seconds per 1,000 requests.
bench *args:
    cargo bench --bench load -- {{args}}

# Load a server with people, with SQLite and PostgreSQL, beside the bare parts of each request.
bench-people *args:
    cargo bench --bench load -- --people {{args}}

# Measure refreshes by the store beside the bare driver. `--rows 1000000` fills the databases first, and deletes it all.
bench-store *args:
    cargo bench --bench store -- {{args}}

# Flood the release build as strangers and tenants; measure its memory and the responses to other clients.
floods *args:
    cargo bench --bench floods -- {{args}}

# Run the benchmarks of the pure modules, beside bare limits.
bench-core *args:
    cargo bench --bench core -- {{args}}

# Measure issuing and serving on a real API server, beside the bare requests.
bench-cluster *args:
    cargo bench --bench cluster -- {{args}}

# Search the issuing protocol within wide bounds; the normal tests use narrow ones. DEEP=actions,faults,policy,share,most
search:
    cargo test --release --test issuing -- --ignored --nocapture

# Fuzz the parsers of everything that strangers send, each for this many seconds; needs a nightly toolchain.
fuzz target="all" seconds="60":
    fuzz/run {{target}} {{seconds}}

# Mutate the rules of the pure modules and list the mutants that no test notices. `--sample 4` takes every fourth.
mutants *args:
    tests/mutants/run {{args}}

# Kill the operator's leader many times, at random moments, on a real API server; the normal tests kill it twice.
kills rounds="20":
    SYMBOLON_KILLS={{rounds}} cargo test --locked --test cluster -- --nocapture killing_the_leader

# Run the tests beside four busy loops, three times, and list those that fail: `just busy 1 --test cluster`.
busy *args:
    tests/busy.sh {{args}}

# Start a cluster to try things: etcd, API server and controllers; ctrl-D stops it.
cluster:
    tests/cluster/up.sh
