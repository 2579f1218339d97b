#!/usr/bin/env python3
"""Writes an OCI image of one layer: programs of this machine, the libraries that they need, and nothing else.

The same files give the same bytes. There is no shell in it unless one is put there.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="FILE", help="the archive that is written")
    parser.add_argument("--ref", required=True, help="the image's name, for example localhost/scheduler:1; with `latest` a node would want to pull it")
    parser.add_argument("--user", default="65532", help="who runs in it; default 65532")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--entrypoint", metavar="PATH", help="default: the first file's")
    parser.add_argument("files", nargs="+", metavar="FILE=PATH", help="a program or another file, or a folder with all that is in it")
    return parser.parse_args()


def libraries(program):
    """What the loader would load for it, and the loader. Nothing for what is static or no program."""
    with open(program, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    words = [next((word for word in line.split() if word.startswith("/")), None) for line in listed.stdout.splitlines()]
    missing = [line.strip() for line in listed.stdout.splitlines() if "not found" in line]
    if missing:
        raise SystemExit(f"{program} needs what this machine does not have: {', '.join(missing)}")
    return [word for word in words if word]


class Layer:
    def __init__(self, file):
        self.tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self.names = set()

    def entry(self, name, mode, **fields):
        self.names.add(name)
        info = tarfile.TarInfo(name)
        info.mode = mode
        for field, value in fields.items():
            setattr(info, field, value)
        return info

    def folder(self, name, mode=0o755):
        if name and name not in self.names:
            self.folder(os.path.dirname(name))
            self.tar.addfile(self.entry(name, mode, type=tarfile.DIRTYPE))

    def text(self, name, content):
        self.folder(os.path.dirname(name))
        self.tar.addfile(self.entry(name, 0o644, size=len(content)), io.BytesIO(content))

    def add(self, source, name):
        name = name.strip("/")
        if os.path.isdir(source) and not os.path.islink(source):
            self.folder(name)
            for child in sorted(os.listdir(source)):
                self.add(os.path.join(source, child), f"{name}/{child}")
        elif name not in self.names:
            self.folder(os.path.dirname(name))
            if os.path.islink(source):
                self.tar.addfile(self.entry(name, 0o777, type=tarfile.SYMTYPE, linkname=os.readlink(source)))
            else:
                self.file(source, name)

    def file(self, source, name):
        with open(source, "rb") as file:
            status = os.fstat(file.fileno())
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            self.tar.addfile(self.entry(name, mode, size=status.st_size), file)
        for library in libraries(source):
            self.add(os.path.realpath(library), library)


def write_layer(file, files):
    layer = Layer(file)
    layer.folder("tmp", 0o1777)
    layer.text("etc/passwd", b"root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n")
    layer.text("etc/group", b"root:x:0:\nnonroot:x:65532:\n")
    for source, name in files:
        # What a file is named on the command line may be a link; what it leads to is meant.
        layer.add(os.path.realpath(source), name)
    layer.tar.close()


def descriptor(media_type, digest, size):
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def encode(value):
    return json.dumps(value, sort_keys=True).encode()


def write_image(out, layer, options, entrypoint):
    size = layer.tell()
    layer.seek(0)
    digest = hashlib.file_digest(layer, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(layer.read()).hexdigest()
    config = encode({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [entrypoint], "User": options.user, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/", *options.env]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    })
    sha = lambda data: hashlib.sha256(data).hexdigest()
    manifest = encode({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, sha(config), len(config)),
        "layers": [descriptor(LAYER, digest, size)],
    })
    named = descriptor(MANIFEST, sha(manifest), len(manifest)) | {"annotations": {"io.containerd.image.name": options.ref}}
    with tarfile.open(out, "w") as archive:
        def add(name, size, file):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, file)

        for name, data in [
            ("oci-layout", encode({"imageLayoutVersion": "1.0.0"})),
            ("index.json", encode({"schemaVersion": 2, "manifests": [named]})),
            (f"blobs/sha256/{sha(config)}", config),
            (f"blobs/sha256/{sha(manifest)}", manifest),
        ]:
            add(name, len(data), io.BytesIO(data))
        layer.seek(0)
        add(f"blobs/sha256/{digest}", size, layer)


def main():
    options = arguments()
    pairs = [pair.partition("=")[::2] for pair in options.files]
    for source, name in pairs:
        if not name.startswith("/"):
            raise SystemExit(f"{source}: say where it goes, as in {source}=/program")
        if not os.path.exists(source):
            raise SystemExit(f"{source}: no such file")
    with tempfile.TemporaryFile(dir=os.path.dirname(os.path.abspath(options.out))) as layer:
        write_layer(layer, pairs)
        write_image(options.out, layer, options, options.entrypoint or pairs[0][1])


main()
