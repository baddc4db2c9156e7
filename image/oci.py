#!/usr/bin/env python3
"""Writes an OCI image of one layer, FROM scratch, as an archive: no daemon, no root, the same bytes each time.

usage: oci.py --output FILE --name NAME:TAG [options] SOURCE:DESTINATION[:MODE]... [DIR.tar]...

A SOURCE is a file; a *.tar (without a destination) is taken in whole, e.g. a package's files. Everything belongs to
root. Times are SOURCE_DATE_EPOCH. Prints NAME:TAG, the image's digest, and the bytes that a node has to fetch.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

OCI = "application/vnd.oci.image."


def main():
    args = arguments()
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    layer = pack(args.files, time)
    # Without a name and a time in its header, and the level fixed.
    compressed = gzip.compress(layer, compresslevel=9, mtime=0)
    config = to_json(image_config(args, layer, time))
    manifest = to_json(image_manifest(args, config, compressed))
    index = to_json(image_index(args, manifest))
    blobs = {"blobs/sha256/" + digest(blob)[7:]: blob for blob in (compressed, config, manifest)}
    # `ctr`, podman and skopeo read the layout; manifest.json is what `docker load` of older engines reads.
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index} | blobs
    files["manifest.json"] = to_json([{"Config": name_of(config), "RepoTags": [args.name], "Layers": [name_of(compressed)]}])
    with open(args.output + ".tmp", "wb") as output:
        output.write(archive(files, time))
    os.replace(args.output + ".tmp", args.output)
    print(args.name, digest(manifest), len(compressed) + len(config) + len(manifest))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--architecture", default="amd64")
    parser.add_argument("--entrypoint", action="append", default=[], help="once for each word")
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("files", nargs="+")
    return parser.parse_args()


class Layer:
    """A tar of files with their folders, in the order of their names."""

    def __init__(self, time):
        self.entries = {}
        self.time = time

    def add(self, info, data=None):
        path = info.name.removeprefix("./").strip("/")
        if not path:
            return
        self.folders(path)
        info.name, info.mtime, info.uid, info.gid, info.uname, info.gname, info.pax_headers = path, self.time, 0, 0, "", "", {}
        # A file's folder that came first as ours keeps the mode that a package gives it.
        self.entries[path] = (info, data)

    def file(self, path, mode, data):
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(data), mode
        self.add(info, data)

    def folders(self, path):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            info = tarfile.TarInfo(parent)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            self.add(info)

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
            for _, (info, data) in sorted(self.entries.items()):
                out.addfile(info, io.BytesIO(data) if data is not None else None)
        return buffer.getvalue()


def pack(files, time):
    layer = Layer(time)
    for item in files:
        if item.endswith(".tar"):
            with tarfile.open(item) as package:
                for info in package:
                    layer.add(info, package.extractfile(info).read() if info.isreg() else None)
            continue
        source, _, rest = item.partition(":")
        destination, _, mode = rest.partition(":")
        if not destination.startswith("/"):
            sys.exit(f"oci.py: '{item}' names no absolute destination")
        with open(source, "rb") as file:
            layer.file(destination, int(mode or "0644", 8), file.read())
    return layer.tar()


def image_config(args, layer, time):
    created = datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {"User": args.user, "WorkingDir": "/", "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Labels": labels(args)}
    if args.entrypoint:
        config["Entrypoint"] = args.entrypoint
    return {
        "created": created,
        "architecture": args.architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": created, "created_by": "image/oci.py"}],
    }


def image_manifest(args, config, compressed):
    return {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": descriptor(OCI + "config.v1+json", config),
        "layers": [descriptor(OCI + "layer.v1.tar+gzip", compressed)],
        "annotations": labels(args),
    }


def image_index(args, manifest):
    # containerd takes the whole name from the first, others the tag from the second.
    names = {"io.containerd.image.name": args.name, "org.opencontainers.image.ref.name": args.name.rpartition(":")[2]}
    entry = descriptor(OCI + "manifest.v1+json", manifest)
    entry |= {"platform": {"architecture": args.architecture, "os": "linux"}, "annotations": names}
    return {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [entry]}


def labels(args):
    return dict(label.split("=", 1) for label in args.label)


def descriptor(media_type, blob):
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def digest(blob):
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def name_of(blob):
    return "blobs/sha256/" + digest(blob)[7:]


def to_json(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def archive(files, time):
    layer = Layer(time)
    for name, data in files.items():
        layer.file(name, 0o644, data)
    return layer.tar()


main()
