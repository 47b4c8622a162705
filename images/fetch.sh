#!/bin/sh
# fetch.sh POLICY CHECKSUMS PACKAGE VERSION: puts the package's tarball for this
# machine, checked against CHECKSUMS, below /fetched. From /vendor when it is
# there, else with npm. A version without a checksum is refused: what is built is
# what was looked at. With POLICY "index" it is taken with npm all the same, and
# checked against what the package index says of it, which is all that npm does.
set -eu
policy=$1 checksums=$2 package=$3 version=${4:-}
if [ -z "$version" ]; then
  echo "fetch.sh: no version of $package is named; see images/versions" >&2
  exit 1
fi

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

known=yes
# Fixed text: a version has dots in it.
if ! grep -qF -- "  $file" "$checksums"; then
  known=no
  if [ "$policy" != index ]; then
    echo "fetch.sh: no checksum of $file is known; add its sha512 to $checksums" >&2
    exit 1
  fi
fi
mkdir -p /tmp/pack /fetched
cd /tmp/pack
if [ "$known" = yes ] && [ -f "/vendor/$file" ]; then
  cp "/vendor/$file" .
elif ! command -v npm >/dev/null; then
  echo "fetch.sh: $file is not in images/vendor, and npm was left out" >&2
  exit 1
else
  npm pack --silent "$spec" >/dev/null || {
    echo "fetch.sh: npm could not fetch $spec: look whether there is such a release" >&2
    exit 1
  }
fi
if [ "$known" = yes ]; then
  grep -F -- "  $file" "$checksums" | sha512sum -c -
else
  said=$(npm view "$spec" dist.integrity)
  found=sha512-$(openssl dgst -sha512 -binary "$file" | base64 -w0)
  if [ "$said" != "$found" ]; then
    echo "fetch.sh: $file is not what the package index says: $found, not $said" >&2
    exit 1
  fi
  echo "not pinned, as the package index has it: $(sha512sum "$file")"
fi
tar -xzf "$file" -C /fetched --strip-components=1 --no-same-owner
rm -rf /tmp/pack
