#!/usr/bin/env bash
# install.sh FOLDER: install what the tests of this folder need on Debian, and unpack a kernel into FOLDER, which
# VMQTUI_QEMU_KERNEL then names. QEMU has igb from 8.0 on, so both come from the release's backports, whose line is
# derived from that of the release. The machine's own list of sources and its kernel stay as they are.
set -euo pipefail
mkdir -p "$1/sources"
cd "$1"

[ "$(uname -m)" = x86_64 ] || { echo "not x86-64"; exit 1; }
. /etc/os-release
release=${VERSION_CODENAME:?}
cp /etc/apt/sources.list.d/*.{sources,list} sources/ 2>/dev/null || true
main=$(grep -ls "^Suites:.*\b$release\b" sources/*.sources | head -1) || { echo "no source of $release"; exit 1; }
sed -n "/^\$/q; s/^Suites:.*/Suites: $release-backports/; p" "$main" >sources/vmqtui-backports.sources

from=(-o "Dir::Etc::sourceparts=$PWD/sources" -t "$release-backports")
export DEBIAN_FRONTEND=noninteractive
apt-get "${from[@]}" update -qq
apt-get "${from[@]}" install -y -qq --no-install-recommends qemu-system-x86 busybox-static >/dev/null
kernel=$(apt-cache "${from[@]}" depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -1)
apt-get "${from[@]}" download -qq "$kernel"
dpkg-deb -x "$kernel"_*.deb .
rm "$kernel"_*.deb
