#!/usr/bin/env bash
# Installs what `make test` needs besides Rust and make on a Debian machine, and nothing that is there already.
# What the ARM tests need is installed by tools/test-arm.sh.
set -euo pipefail

# The last version that builds with the oldest Rust this workspace supports.
nextest_version=0.9.128

say() { printf 'setup: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if ! command -v cc >/dev/null; then
  say "installing a C compiler, which Rust links with"
  as_root apt-get update -qq
  as_root apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null
fi

for component in rustfmt clippy; do
  tool=cargo-${component/rustfmt/fmt}
  if ! command -v "$tool" >/dev/null; then
    say "installing $component"
    rustup component add "$component"
  fi
done

if ! cargo nextest --version >/dev/null 2>&1; then
  say "installing cargo-nextest $nextest_version (some minutes)"
  cargo install --quiet --locked cargo-nextest --version "$nextest_version" ||
    say "cargo-nextest could not be installed: the tests will run under cargo test"
fi
