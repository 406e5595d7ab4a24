#!/usr/bin/env bash
# Checks that this machine has what Footfall needs to be built and tested, and
# installs what it can: Debian packages when run as root on Debian, pinned Go
# tools into .tools/bin. For the rest it prints the exact command. Running it
# again changes nothing that is already right.
#
# It runs under bash 3.2 too, which is what macOS has.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: deploy/bootstrap.sh [--check] [--build] [--tools] [--quiet]

  (none)    check Go, a C compiler, Node, chromium and strace; install what is
            missing and can be installed (as root on Debian), name the command otherwise
  --build   only what `make build` and `make demo` need: Go and a C compiler
  --tools   also the pinned Go tools that `make test` needs, into .tools/bin
  --check   only report; install nothing
  --quiet   name only what is missing or is being installed
  --help    this text

Exit status: 0 when everything required is there, 1 when something is missing,
2 for a wrong argument. Node and chromium are required as soon as the tree holds
a package.json; before that they are only mentioned.
TEXT
}

check=no build_only=no tools=no quiet=no
for arg in "$@"; do
  case $arg in
    --check) check=yes ;;
    --build) build_only=yes ;;
    --tools) tools=yes ;;
    --quiet) quiet=yes ;;
    --help | -h) usage; exit 0 ;;
    *) printf 'bootstrap: unknown argument %s\n\n' "$arg" >&2; usage >&2; exit 2 ;;
  esac
done

# The pinned tools: binary, package, version. The generated code and the lint
# findings depend on the version, so another one is replaced.
pinned='golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
buf github.com/bufbuild/buf/cmd/buf v1.75.0
protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go v1.36.12'

go_tested=1.26.8    # the archive named below; go.mod says what is the least
node_tested=20.20.2 # likewise
node_least=20

missing=0
os=$(uname -s)
case $(uname -m) in
  x86_64 | amd64) go_arch=amd64 node_arch=x64 ;;
  aarch64 | arm64) go_arch=arm64 node_arch=arm64 ;;
  *) go_arch=$(uname -m) node_arch=$(uname -m) ;;
esac
debian=no
if [ -f /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; then debian=yes; fi
sudo=
if [ "$(id -u)" != 0 ]; then sudo='sudo '; fi

ok() { if [ $quiet = no ]; then printf '  ok       %-14s %s\n' "$1" "$2"; fi; }
note() { if [ $quiet = no ]; then printf '  note     %-14s %s\n' "$1" "$2"; fi; }
# A warning is for what is silent otherwise: it is told with --quiet, too.
warn() { printf '  note     %-14s %s\n' "$1" "$2"; }
lack() { # name, what is wrong, the command that mends it
  printf '  MISSING  %-14s %s\n' "$1" "$2"
  printf '           run: %s\n' "$3"
  missing=$((missing + 1))
}
# lack_or_note required name text command
lack_or_note() {
  if [ "$1" = yes ]; then
    lack "$2" "$3" "$4"
  else
    note "$2" "$3; not needed yet (later: $4)"
  fi
}

# at_least HAVE LEAST compares dotted versions.
at_least() {
  local IFS=. i h l
  # Splitting at the dots is meant.
  # shellcheck disable=SC2206
  local have=($1) least=($2)
  for i in 0 1 2; do
    h=${have[i]:-0} l=${least[i]:-0}
    h=${h%%[!0-9]*} l=${l%%[!0-9]*}
    if [ "${h:-0}" -gt "${l:-0}" ]; then return 0; fi
    if [ "${h:-0}" -lt "${l:-0}" ]; then return 1; fi
  done
}

# can_apt: may packages be installed here and now?
can_apt() { [ "$check" = no ] && [ "$debian" = yes ] && [ -z "$sudo" ]; }

apt_install() {
  printf '  install  %s\n' "$*"
  # The package lists of a fresh image are empty: fetch them only when needed.
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null; } ||
    printf '  FAILED   apt-get install %s\n' "$*"
}

# ------------------------------------------------------------------------- Go
go_least=$(awk '$1 == "go" { print $2; exit }' go.mod)
case $os in
  Darwin) go_command='brew install go' ;;
  *) go_command="${sudo}rm -rf /usr/local/go && curl -fsSL https://go.dev/dl/go$go_tested.linux-$go_arch.tar.gz | ${sudo}tar -C /usr/local -xz && export PATH=/usr/local/go/bin:\$PATH" ;;
esac
have_go=no
if ! command -v go >/dev/null 2>&1; then
  lack go "not found; $go_least or newer is needed" "$go_command"
else
  # Inside the module a Go that may fetch its own toolchain reports that one; one
  # that may not and is too old fails, then its own version is reported.
  go_version=$(go env GOVERSION 2>/dev/null || (cd / && go env GOVERSION 2>/dev/null) || echo unknown)
  go_version=${go_version#go}
  if at_least "$go_version" "$go_least"; then
    ok go "$go_version"
    have_go=yes
  else
    lack go "$go_version is too old; $go_least or newer is needed" "$go_command"
  fi
fi

# ----------------------------------------------------------------- C compiler
# H3 and SQLite are C. A compiler without the C library's headers is no use, so
# one small program is compiled.
cc_name=${CC:-}
if [ -z "$cc_name" ] && [ $have_go = yes ]; then cc_name=$(go env CC); fi
cc_name=${cc_name:-cc}
cc_works() {
  # CC may hold arguments.
  # shellcheck disable=SC2086
  printf '#include <stdlib.h>\n#include <math.h>\nint main(void) { return abs(0); }\n' |
    $cc_name -x c -o /dev/null - >/dev/null 2>&1
}
if ! cc_works && can_apt; then apt_install gcc libc6-dev; hash -r; fi
if cc_works; then
  # shellcheck disable=SC2086
  ok 'C compiler' "$($cc_name --version 2>/dev/null | head -n 1)"
else
  case $os in
    Darwin) cc_command='xcode-select --install' ;;
    *)
      if [ $debian = yes ]; then
        cc_command="${sudo}apt-get update && ${sudo}apt-get install -y gcc libc6-dev"
      else
        cc_command='install gcc and the headers of the C library with your package manager'
      fi
      ;;
  esac
  lack 'C compiler' "$cc_name does not compile a C program" "$cc_command"
fi

if [ $build_only = no ]; then
  # -------------------------------------------------------------------- Node
  # The console, the TypeScript SDK and the sample app need it, once they are there.
  web=no
  if [ -n "$(find sdkproto server mobile-sample -name package.json -not -path '*/node_modules/*' 2>/dev/null | head -n 1)" ]; then web=yes; fi
  # Debian 12 has Node 18: apt is no way to get it.
  case $os in
    Darwin) node_command='brew install node' ;;
    *) node_command="curl -fsSL https://nodejs.org/dist/v$node_tested/node-v$node_tested-linux-$node_arch.tar.gz | ${sudo}tar -C /usr/local -xz --strip-components=1" ;;
  esac
  node_version=
  if command -v node >/dev/null 2>&1; then node_version=$(node --version 2>/dev/null || true); fi
  node_version=${node_version#v}
  if [ -z "$node_version" ]; then
    lack_or_note $web node "not found; $node_least or newer" "$node_command"
  elif ! at_least "$node_version" "$node_least"; then
    lack_or_note $web node "$node_version is too old; $node_least or newer" "$node_command"
  else
    ok node "$node_version"
  fi

  # ---------------------------------------------------------------- chromium
  # The browser tests of the console and of the sample app run in it.
  find_chromium() {
    local name
    for name in "${CHROME_BIN:-}" chromium chromium-browser google-chrome google-chrome-stable \
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' /Applications/Chromium.app/Contents/MacOS/Chromium; do
      if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then
        printf '%s' "$name"
        return 0
      fi
    done
    return 1
  }
  if ! find_chromium >/dev/null && can_apt; then apt_install chromium; hash -r; fi
  if chromium=$(find_chromium); then
    ok chromium "$("$chromium" --version 2>/dev/null | head -n 1 || true)"
  else
    case $os in
      Darwin) chromium_command='brew install --cask chromium' ;;
      *)
        if [ $debian = yes ]; then
          chromium_command="${sudo}apt-get update && ${sudo}apt-get install -y chromium"
        else
          chromium_command='install chromium with your package manager, or set CHROME_BIN'
        fi
        ;;
    esac
    lack_or_note $web chromium 'not found' "$chromium_command"
  fi

  # ------------------------------------------------------------------ strace
  # With it tests record what the server writes, and cut the power at any moment of
  # that. Without it they are skipped, and fail where CI is set.
  if [ "$os" = Linux ]; then
    if ! command -v strace >/dev/null 2>&1 && can_apt; then apt_install strace; hash -r; fi
    strace_lack= strace_command=
    if ! command -v strace >/dev/null 2>&1; then
      strace_lack='not found'
      if [ $debian = yes ]; then
        strace_command="${sudo}apt-get update && ${sudo}apt-get install -y strace"
      else
        strace_command='install strace with your package manager'
      fi
    # As the tests call it: a container or the kernel may forbid it.
    elif ! strace -f --seccomp-bpf -o /dev/null true >/dev/null 2>&1; then
      strace_lack='is there and may not trace'
      strace_command='give the container the capability SYS_PTRACE (docker run --cap-add SYS_PTRACE), or look at /proc/sys/kernel/yama/ptrace_scope'
    fi
    if [ -z "$strace_lack" ]; then
      ok strace "$(strace -V 2>/dev/null | head -n 1 || true)"
    elif [ -n "${CI:-}" ]; then
      lack strace "$strace_lack; power cuts cannot be tested" "$strace_command"
    else
      warn strace "$strace_lack; POWER CUTS WILL NOT BE TESTED ($strace_command)"
    fi
  fi
fi

# ---------------------------------------------------------------- pinned tools
tool_version() { go version -m ".tools/bin/$1" 2>/dev/null | awk '$1 == "mod" { print $3; exit }'; }
if [ $tools = yes ] && [ $have_go = yes ]; then
  while read -r name package version; do
    have=$(tool_version "$name" || true)
    if [ "$have" != "$version" ] && [ $check = no ]; then
      printf '  install  %s %s (once; a minute or more)\n' "$name" "$version"
      # Without C, so that the tools do not depend on the compiler.
      GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 GOFLAGS= go install "$package@$version" </dev/null || true
      have=$(tool_version "$name" || true)
    fi
    if [ "$have" = "$version" ]; then
      ok "$name" "$version"
    else
      lack "$name" "${have:-not found}, $version is needed" "GOBIN=\"$PWD/.tools/bin\" CGO_ENABLED=0 go install $package@$version"
    fi
  done <<TEXT
$pinned
TEXT
elif [ $tools = yes ]; then
  note tools 'not looked at: Go comes first'
fi

if [ $missing -gt 0 ]; then
  printf 'bootstrap: %d missing; run what is named above, then this again\n' $missing >&2
  exit 1
fi
