#!/bin/sh
# fetch.sh CHECKSUMS PACKAGE VERSION: puts the package's tarball for this machine,
# checked against CHECKSUMS, below /fetched. From /vendor when it is there, else
# with npm. A version without a checksum is refused: what is built is what was
# looked at.
set -eu
checksums=$1 package=$2 version=$3

case "$(dpkg --print-architecture)" in
  amd64) arch=x64 ;;
  arm64) arch=arm64 ;;
  *) echo "fetch.sh: $package has no build for $(dpkg --print-architecture)" >&2; exit 1 ;;
esac
platform=linux-$arch
case "$package" in
  # One for every machine.
  @google/gemini-cli) spec="$package@$version" file="google-gemini-cli-$version.tgz" ;;
  node-linux) spec="node-linux-$arch@$version" file="node-linux-$arch-$version.tgz" ;;
  @openai/codex) spec="$package@$version-$platform" file="openai-codex-$version-$platform.tgz" ;;
  *) spec="$package-$platform@$version" file="$(echo "${package#@}" | tr / -)-$platform-$version.tgz" ;;
esac

if ! grep -q " $file\$" "$checksums"; then
  echo "fetch.sh: no checksum of $file is known; add its sha512 to $checksums" >&2
  exit 1
fi
mkdir -p /tmp/pack /fetched
cd /tmp/pack
if [ -f "/vendor/$file" ]; then
  cp "/vendor/$file" .
elif ! command -v npm >/dev/null; then
  echo "fetch.sh: $file is not in images/vendor, and npm was left out" >&2
  exit 1
else
  npm pack --silent "$spec" >/dev/null
fi
grep " $file\$" "$checksums" | sha512sum -c -
tar -xzf "$file" -C /fetched --strip-components=1 --no-same-owner
rm -rf /tmp/pack
