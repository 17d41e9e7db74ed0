#!/usr/bin/env bash
# Build containers/Dockerfile without a Docker engine and without a registry of images, and run the demonstration in it.
#
#     sudo bash scripts/container.sh [FOLDER]
#
# The base is Debian 13 with its Python 3.13, made here, in place of the recipe's image of Python. FOLDER (default: a
# temporary one) gets the base and the demonstration's files. It needs Debian's buildah and debootstrap, root, 20 GB and
# some minutes. The image is kept: buildah rmi hws-nnunet base-of-hws-nnunet
set -euo pipefail
work=$(realpath -m "${1:-$(mktemp -d)}")
cd "$(dirname "$0")/.."
mkdir -p "$work/data"
debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates trixie "$work/base"
rm "$work"/base/usr/lib/python3*/EXTERNALLY-MANAGED # as in the image of Python, where pip may install
ln -sf python3 "$work/base/usr/bin/python"
cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/" # what this machine trusts
base=$(buildah from scratch)
buildah copy --quiet "$base" "$work/base" /
buildah commit --quiet --rm "$base" base-of-hws-nnunet
buildah bud --isolation chroot --pull-never --from base-of-hws-nnunet --tag hws-nnunet -f containers/Dockerfile .
container=$(buildah from --pull-never hws-nnunet)
trap 'buildah rm "$container"' EXIT
buildah run --isolation chroot --volume "$work/data:/data" "$container" hws-nnunet demo --out /data/demo
