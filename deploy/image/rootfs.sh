#!/bin/sh
# Lays out the root of an image in which a program runs, and nothing else:
#
#   rootfs.sh PROGRAM FOLDER
set -eu

program=$1
root=$2

mkdir -p "$root/data" "$root/etc/ssl/certs" "$root/usr/bin"
cp "$program" "$root/usr/bin/vydra"
# Each library under the path at which the loader looks for it, the loader among them.
ldd "$program" | grep -o '/[^ )]*' | while read -r library; do
  cp --dereference --parents "$library" "$root"
done
cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'vydra:x:65532:65532:Vydra:/data:/usr/bin/vydra\n' >"$root/etc/passwd"
printf 'vydra:x:65532:\n' >"$root/etc/group"
# Names of the container's own network stand in its hosts file.
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
