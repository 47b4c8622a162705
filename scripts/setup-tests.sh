#!/usr/bin/env bash
# setup-tests.sh: makes sure of everything that the tests use, and says what it does. Quick when all is there.
#
# Installs Debian packages (as root), starts a Docker Engine when none answers (its pid in build/dockerd.pid),
# puts the real agent CLIs into build/clis, other people's MCP programs into build/mcp and their clients and servers of
# model APIs into build/peers, builds an S3 server and a filesystem exerciser into build/tools and build/fsx, the
# programs into build/bin and the images into the engine.
# CORDON_TEST_SKIP, a list with commas, names groups that need not be there: docker, runsc, clis, mcp, sdks, litellm,
# llama, ag2, s3, fsx, bsdtar, massgen.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build

# CODEX, CLAUDE_CODE, GEMINI_CLI, COPILOT and NODE: the same releases as in the images.
. images/versions
MCP_PACKAGES=(
  @modelcontextprotocol/conformance@0.1.16
  @modelcontextprotocol/inspector@2.12.0
  @modelcontextprotocol/server-filesystem@2026.8.31
)
MCP_PYTHON=mcp==2.3.0
MASSGEN=massgen==0.1.97
# The official clients of the model APIs; and llama.cpp's server, with what writes models for it.
SDKS=(openai==3.54.0 anthropic==2.12.0 google-genai==3.4.0)
LLAMA=(xllamacpp==2026.10.11549 gguf==0.19.0)
# The last line of releases that has classic agents.
AG2='ag2[openai]==0.14.0'
# The newest that this toolchain builds.
S3S_FS=0.14.1
FSX=0.3.2

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
skipped() { [[ ",${CORDON_TEST_SKIP:-}," == *",$1,"* ]]; }
root() { [ "$(id -u)" = 0 ]; }
# sbin is not in everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

declare -A package=(
  [git]=git [curl]=curl [openssl]=openssl [python3]=python3 [jq]=jq [bwrap]=bubblewrap
  [node]=nodejs [npm]=npm [dockerd]=docker.io [docker]=docker.io [debootstrap]=debootstrap [iptables]=iptables
  [runsc]=runsc
  [bsdtar]=libarchive-tools [mkfs.btrfs]=btrfs-progs [setfattr]=attr [setpriv]=util-linux [tmux]=tmux
)
missing_packages() {
  local program
  for program in "${!package[@]}"; do
    case $program in
      node | npm) ! { skipped clis && skipped mcp; } || continue ;;
      dockerd | docker | debootstrap | iptables) ! skipped docker || continue ;;
      runsc) ! { skipped docker || skipped runsc; } || continue ;;
      bsdtar) ! skipped bsdtar || continue ;;
    esac
    # An engine elsewhere needs no daemon here.
    [ "$program" = dockerd ] && engine_answers && continue
    command -v "$program" >/dev/null || echo "${package[$program]}"
  done | sort -u
  # Sandboxes see the system's Python, whatever else is in the PATH.
  /usr/bin/python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
}

engine_answers() { command -v docker >/dev/null && docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  root || fail "an administrator must install: ${missing[*]} (\`apt-get install ${missing[*]}\`)"
  command -v apt-get >/dev/null || fail "install these with your system's packages: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -q >build/apt.log 2>&1 || fail "apt-get update: $(tail -n 3 build/apt.log)"
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}" >>build/apt.log 2>&1 ||
    fail "apt-get install: $(tail -n 3 build/apt.log)"
}

start_engine() {
  skipped docker && return 0
  engine_answers && return 0
  root || fail "no Docker Engine answers; an administrator must start one and let you use its socket"
  say "no Docker Engine answers; starting dockerd (log: build/dockerd.log)"
  # A session of its own: Ctrl-C on the tests must not take the engine away before the tests' own end.
  setsid dockerd >build/dockerd.log 2>&1 </dev/null &
  echo $! >build/dockerd.pid
  for _ in $(seq 300); do
    engine_answers && return 0
    kill -0 "$(cat build/dockerd.pid)" 2>/dev/null || break
    sleep 0.1
  done
  rm -f build/dockerd.pid
  fail "dockerd does not answer: $(tail -n 5 build/dockerd.log)"
}

# gVisor as a runtime of the engine. Debian's release knows the platform ptrace, and its own network does not
# start on every kernel: it uses that of the container.
register_gvisor() {
  { skipped docker || skipped runsc; } && return 0
  docker info --format '{{json .Runtimes}}' | jq -e '.runsc' >/dev/null && return 0
  local settings=/etc/docker/daemon.json pid
  command -v runsc >/dev/null || fail "no gVisor here; install runsc, or name it in CORDON_TEST_SKIP"
  root || fail "an administrator must register the runtime runsc with the engine, or CORDON_TEST_SKIP name runsc"
  say "registering gVisor as the runtime runsc of the engine, in $settings"
  mkdir -p /etc/docker
  [ -s "$settings" ] || echo '{}' >"$settings"
  jq '.runtimes.runsc = {path: "/usr/bin/runsc", runtimeArgs: ["--platform=ptrace", "--network=host", "--host-uds=open"]}' \
    "$settings" >"$settings.new" && mv "$settings.new" "$settings" || fail "$settings is no JSON"
  # The engine takes up its runtimes without a new start; nothing that runs is touched.
  pid=$(cat build/dockerd.pid 2>/dev/null || cat /var/run/docker.pid) && kill -HUP "$pid" ||
    fail "the engine could not be told of its new settings; restart it"
  for _ in $(seq 100); do
    docker info --format '{{json .Runtimes}}' | jq -e '.runsc' >/dev/null && return 0
    sleep 0.1
  done
  fail "the engine does not take the runtime runsc; see its log"
}

has_version() { grep -qs "\"version\": *\"$2\(-[^\"]*\)\?\"" "build/clis/node_modules/$1/package.json"; }

install_clis() {
  skipped clis && return 0
  local arch
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) fail "no agent CLIs for $(uname -m)" ;; esac
  if ! have_clis "$arch"; then
    say "installing Codex $CODEX, Claude Code $CLAUDE_CODE, Gemini CLI $GEMINI_CLI and Copilot CLI $COPILOT into build/clis"
    mkdir -p build/clis
    # Only the programs are wanted: nothing of a package runs while it is installed.
    npm install --prefix build/clis --ignore-scripts --include=optional --no-audit --no-fund --no-save \
      "@openai/codex@$CODEX" "@anthropic-ai/claude-code@$CLAUDE_CODE" "@google/gemini-cli@$GEMINI_CLI" \
      "@github/copilot-linux-$arch@$COPILOT" "node-linux-$arch@$NODE" >build/npm.log 2>&1 ||
      fail "npm install: $(tail -n 5 build/npm.log)"
    have_clis "$arch" || fail "npm left one of the programs out; see build/npm.log"
  fi
  # What a user's first run of Copilot leaves behind: it unpacks itself, into each sandbox otherwise.
  [ -f "build/clis/copilot-cache/pkg/linux-$arch/$COPILOT/.extraction-complete" ] && return 0
  rm -rf build/clis/copilot-cache
  COPILOT_PKG_CACHE_HOME=$PWD/build/clis/copilot-cache COPILOT_HOME=$PWD/build/clis/copilot-home \
    COPILOT_AUTO_UPDATE=false "build/clis/node_modules/@github/copilot-linux-$arch/copilot" --version \
    >build/copilot.log 2>&1 || fail "Copilot does not start: $(tail -n 5 build/copilot.log)"
  chmod -R a+rX build/clis/copilot-cache
}

have_clis() {
  has_version "@openai/codex-linux-$1" "$CODEX" && has_version "@anthropic-ai/claude-code-linux-$1" "$CLAUDE_CODE" &&
    has_version "@google/gemini-cli" "$GEMINI_CLI" && has_version "@github/copilot-linux-$1" "$COPILOT" &&
    has_version "node-linux-$1" "$NODE"
}

# MCP's own conformance suite, its inspector, the reference file server, and the Python client.
install_mcp() {
  skipped mcp && return 0
  local arch stamp
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) fail "no Node for $(uname -m)" ;; esac
  stamp="node-linux-$arch@$NODE ${MCP_PACKAGES[*]} $MCP_PYTHON"
  [ "$(cat build/mcp/stamp 2>/dev/null)" != "$stamp" ] || return 0
  say "installing MCP's conformance suite, inspector, file server and Python client into build/mcp"
  rm -rf build/mcp
  mkdir -p build/mcp
  npm install --prefix build/mcp --ignore-scripts --no-audit --no-fund --no-save \
    "node-linux-$arch@$NODE" "${MCP_PACKAGES[@]}" >build/npm-mcp.log 2>&1 ||
    fail "npm install: $(tail -n 5 build/npm-mcp.log)"
  mkdir -p build/mcp/bin
  ln -sfn "../node_modules/node-linux-$arch/bin/node" build/mcp/bin/node
  build/mcp/bin/node --version >/dev/null || fail "npm left Node out; see build/npm-mcp.log"
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --target build/mcp/python \
    "$MCP_PYTHON" >build/pip.log 2>&1 || fail "pip install: $(tail -n 5 build/pip.log)"
  echo "$stamp" >build/mcp/stamp
}

# MassGen's own agent files, which ours must accept: only they are taken out of the package, and nothing of it runs.
fetch_massgen() {
  skipped massgen && return 0
  [ "$(cat build/massgen/stamp 2>/dev/null)" != "$MASSGEN" ] || return 0
  say "fetching the agent files of $MASSGEN into build/massgen"
  rm -rf build/massgen
  mkdir -p build/massgen
  /usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest build/massgen "$MASSGEN" >build/pip-massgen.log 2>&1 || fail "pip download: $(tail -n 5 build/pip-massgen.log)"
  /usr/bin/python3 - build/massgen <<'PYTHON' || fail "the package of $MASSGEN has no agent files"
import pathlib, sys, zipfile
there = pathlib.Path(sys.argv[1])
[package] = there.glob("*.whl")
with zipfile.ZipFile(package) as archive:
    names = [n for n in archive.namelist() if n.startswith("massgen/configs/") and n.endswith((".yaml", ".yml", ".json"))]
    for name in names:
        to = there / pathlib.PurePosixPath(name).relative_to("massgen")
        if ".." in to.parts:
            sys.exit(f"{name} leads out of the package")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(archive.read(name))
sys.exit(not names)
PYTHON
  echo "$MASSGEN" >build/massgen/stamp
}

# Python packages into a directory of their own. Only wheels: nothing of a package runs while it is installed.
install_python() {
  local name=$1 place=build/peers/$1
  shift
  skipped "$name" && return 0
  [ "$(cat "$place.stamp" 2>/dev/null)" != "$*" ] || return 0
  say "installing $name and what goes with it into $place"
  rm -rf "$place" "$place.stamp"
  mkdir -p build/peers
  timeout 300 /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
    --root-user-action=ignore --target "$place" "$@" >"build/pip-$name.log" 2>&1 ||
    fail "pip install $name: $(tail -n 5 "build/pip-$name.log")"
  echo "$*" >"$place.stamp"
}

# A proxy that translates between the protocols of the model APIs.
install_litellm() {
  local packages
  mapfile -t packages < <(grep -v '^#' scripts/litellm.txt)
  install_python litellm --no-deps "${packages[@]}"
}

# AG2, as a user has it: an interpreter of its own, which a sandbox is shown; and its wheels, for images.
install_ag2() {
  skipped ag2 && return 0
  local there=build/peers/ag2-wheels
  [ "$(cat build/ag2-venv/stamp 2>/dev/null)" != "$AG2" ] || [ ! -d "$there" ] || return 0
  say "installing $AG2 into build/ag2-venv"
  rm -rf build/ag2-venv "$there"
  mkdir -p "$there"
  timeout 300 /usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
    --dest "$there" "$AG2" >build/pip-ag2.log 2>&1 || fail "pip download $AG2: $(tail -n 5 build/pip-ag2.log)"
  /usr/bin/python3 -m venv --without-pip build/ag2-venv || fail "python3 -m venv failed"
  /usr/bin/python3 -m pip --python build/ag2-venv/bin/python3 install --quiet --disable-pip-version-check \
    --no-index --find-links "$there" --root-user-action=ignore "$AG2" >build/pip-ag2.log 2>&1 ||
    fail "pip install $AG2: $(tail -n 5 build/pip-ag2.log)"
  echo "$AG2" >build/ag2-venv/stamp
}

# A real S3 server, for what is kept in buckets.
install_s3() {
  skipped s3 && return 0
  [ "$(build/tools/bin/s3s-fs --version 2>/dev/null)" != "s3s-fs $S3S_FS" ] || return 0
  say "building s3s-fs $S3S_FS, an S3 server, into build/tools (log: build/s3s-fs.log)"
  cargo install s3s-fs --version "$S3S_FS" --debug --locked --features binary --root build/tools >build/s3s-fs.log 2>&1 ||
    fail "cargo install s3s-fs: $(tail -n 5 build/s3s-fs.log)"
}

# Reads and writes at random, and knows what must come of it.
install_fsx() {
  skipped fsx && return 0
  [ "$(cat build/fsx/version 2>/dev/null)" != "$FSX" ] || return 0
  say "building fsx $FSX into build/fsx (log: build/fsx.log)"
  cargo install fsx --version "$FSX" --debug --locked --root build/fsx >build/fsx.log 2>&1 ||
    fail "cargo install fsx: $(tail -n 5 build/fsx.log)"
  echo "$FSX" >build/fsx/version
}

# Whatever the images are made of.
images_source() { find images daemon/sandbox/src/docker/images -type f -print0 | sort -z | xargs -0 sha256sum; }

build_images() {
  skipped docker && return 0
  local stamp code=0 wanted=(base) options=(--bootstrap)
  # That one is made of all the others.
  skipped clis || wanted=(all)
  stamp="$(images_source | sha256sum) ${wanted[*]}"
  if [ "$(cat build/images.stamp 2>/dev/null)" = "$stamp" ] &&
    docker image inspect debian:bookworm-slim cordon/base:latest >/dev/null 2>&1; then
    return 0
  fi
  say "building the images (log: build/images.log)"
  # A site whose proxy inspects TLS says so by these: the build has to trust the same.
  local bundle=${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-}}
  [ -z "$bundle" ] || options+=(--ca "$bundle")
  [ -z "${https_proxy:-}" ] || options+=(--proxy "$https_proxy")
  # A daemon of its own, on its own socket; gone afterwards.
  local place
  place=$(mktemp -d /tmp/cordon-setup.XXXXXX)
  CORDON_SOCKET=$place/cordond.sock CORDON_STATE_DIR=$place/state \
    build/bin/cordon images build "${options[@]}" "${wanted[@]}" >build/images.log 2>&1 || code=$?
  CORDON_SOCKET=$place/cordond.sock build/bin/cordon --no-start daemon stop --stop-runs >>build/images.log 2>&1 || true
  rm -rf "$place"
  [ "$code" = 0 ] || fail "building the images: $(tail -n 8 build/images.log)"
  echo "$stamp" >build/images.stamp
}

# cordond as an image, of the programs just built.
build_daemon_image() {
  skipped docker && return 0
  say "building the image of cordond (log: build/cordond-image.log)"
  docker build -t cordon/cordond:latest . >build/cordond-image.log 2>&1 ||
    fail "building the image of cordond: $(tail -n 5 build/cordond-image.log)"
}

install_packages
start_engine
register_gvisor
install_clis
install_mcp
install_python sdks "${SDKS[@]}"
install_litellm
install_python llama "${LLAMA[@]}"
install_ag2
install_s3
install_fsx
fetch_massgen
say "building the programs"
make --no-print-directory build
build_images
build_daemon_image
say "everything is there"
