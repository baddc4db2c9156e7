#!/usr/bin/env python3
"""What is inside the program, as CycloneDX 1.6, from cargo's own resolution: what is linked for one target.

usage: sbom.py --target TRIPLE > symbolon.cdx.json

Crates that only build or test are left out: they are not in the program. The same lock file makes the same bytes.
"""

import argparse
import datetime
import json
import os
import subprocess
import tomllib
import uuid


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    target = parser.parse_args().target
    root, links = linked(target)
    packages = described(target)
    checksums = locked_checksums()
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": timestamp(), "component": component(packages[root], checksums, "application")},
        "components": [component(packages[it], checksums, "library") for it in sorted(links) if it != root] + [standard_library()],
        "dependencies": [{"ref": reference(*it), "dependsOn": sorted(reference(*to) for to in links[it])} for it in sorted(links)],
    }
    # The same content has the same number.
    bom["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True)).urn
    print(json.dumps(bom, indent=1, sort_keys=True))


def linked(target):
    """The package itself, and for each package in the program those that it uses. A package is (name, version).

    `cargo metadata` would not do: it turns on the features that tests ask for.
    """
    edges = ["--edges", "normal,no-proc-macro", "--target", target]
    lines = cargo("tree", "--locked", *edges, "--prefix", "depth", "--format", " {p}").splitlines()
    links, path = {}, []
    for line in lines:
        depth, name, version = line.split()[:3]
        package = (name, version.removeprefix("v"))
        path[int(depth) :] = [package]
        links.setdefault(package, set())
        if len(path) > 1:
            links[path[-2]].add(package)
    return path[0], links


def described(target):
    metadata = json.loads(cargo("metadata", "--locked", "--format-version=1", "--filter-platform", target))
    return {(package["name"], package["version"]): package for package in metadata["packages"]}


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def locked_checksums():
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)
    return {(it["name"], it["version"]): it["checksum"] for it in lock["package"] if "checksum" in it}


def reference(name, version):
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def component(package, checksums, kind):
    name, version = package["name"], package["version"]
    entry = {
        "type": kind,
        "bom-ref": reference(name, version),
        "name": name,
        "version": version,
        "purl": reference(name, version),
        "scope": "required",
    }
    if package.get("license"):
        # The old way of writing "or".
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def standard_library():
    """It brings musl, which the program is linked with too."""
    with open("rust-toolchain.toml", "rb") as file:
        version = tomllib.load(file)["toolchain"]["channel"]
    purl = f"pkg:generic/rust-std@{version}"
    licence = [{"expression": "MIT OR Apache-2.0"}]
    return {"type": "library", "bom-ref": purl, "name": "rust-std", "version": version, "purl": purl, "licenses": licence}


def timestamp():
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


main()
