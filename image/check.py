#!/usr/bin/env python3
"""Reads an image archive and reports what is wrong with it, including files that are not expected in it.

usage: check.py ARCHIVE VERSION
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile

MOST = 25 * 1024 * 1024  # bytes that a node fetches
HOLDS = {
    "symbolon",
    "etc/group",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
    "usr/share/licenses/symbolon/LICENSE",
    "usr/share/sbom/symbolon.cdx.json",
}


def main():
    archive, version = sys.argv[1:]
    with tarfile.open(archive) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}
    faults = list(faults_of(files, version))
    for fault in faults:
        print(f"{archive}: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def faults_of(files, version):
    for name, data in files.items():
        if name.startswith("blobs/sha256/") and hashlib.sha256(data).hexdigest() != name[13:]:
            yield f"{name} does not hold what its name says"
    manifest = blob(files, json.loads(files["index.json"])["manifests"][0])
    config = blob(files, json.loads(manifest)["config"])
    layers = json.loads(manifest)["layers"]
    fetched = len(manifest) + len(config) + sum(layer["size"] for layer in layers)
    if fetched > MOST:
        yield f"{fetched} bytes to fetch, more than {MOST}"
    if len(layers) != 1:
        yield f"{len(layers)} layers"
    layer = gzip.decompress(blob(files, layers[0]))
    yield from faults_of_config(json.loads(config), layer, version)
    yield from faults_of_layer(layer)


def faults_of_config(image, layer, version):
    config = image["config"]
    if image["rootfs"]["diff_ids"] != ["sha256:" + hashlib.sha256(layer).hexdigest()]:
        yield "its configuration is of another layer"
    if config["Entrypoint"] != ["/symbolon"]:
        yield f"it starts {config['Entrypoint']}"
    if config["User"] != "65532:65532":
        yield f"it runs as {config['User']}"
    labels = config["Labels"]
    expected = {"version": version, "licenses": "Apache-2.0", "source": "https://github.com/symbolon/symbolon"}
    for key, value in expected.items():
        if labels.get("org.opencontainers.image." + key) != value:
            yield f"the label {key} is {labels.get('org.opencontainers.image.' + key)!r}"


def faults_of_layer(layer):
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        entries = {info.name: info for info in tar}
        read = lambda name: tar.extractfile(entries[name]).read() if name in entries else b""
        certificates, bom, program = (
            read(name) for name in ("etc/ssl/certs/ca-certificates.crt", "usr/share/sbom/symbolon.cdx.json", "symbolon")
        )
    files = {name for name, info in entries.items() if not info.isdir()}
    for name in files ^ HOLDS:
        yield f"{name} is {'missing' if name in HOLDS else 'in it'}"
    for name, info in entries.items():
        if info.uid or info.gid or info.mode & 0o7022:
            yield f"{name} has the mode {info.mode:o} and belongs to {info.uid}:{info.gid}"
    if not entries["symbolon"].mode & 0o001:
        yield "its user may not start the program"
    if certificates.count(b"BEGIN CERTIFICATE") < 50:
        yield "it knows no authorities"
    if program[:4] != b"\x7fELF" or b"/lib64/ld-linux" in program[:4096] or b"/lib/ld-musl" in program[:4096]:
        yield "its program is not static"
    for path in (b"/.cargo/registry/", b"/root/", b"/home/"):
        if path in program:
            yield f"its program names {path.decode()}, a path of the machine that built it"
    if len(json.loads(bom or b"{}").get("components", [])) < 100:
        yield "its bill of materials is not whole"


def blob(files, descriptor):
    return files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]


main()
