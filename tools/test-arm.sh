#!/usr/bin/env bash
# Cross-builds tests for 64-bit ARM and runs them under emulation, on two processors: a Cortex-A53 (the KV260's:
# NEON without dotprod, traps on sdot) and one with everything QEMU has. Without arguments: all tests of the
# arithmetic, and those that compare a whole model with the tokens and logits of other machines. With arguments:
# what they name (cargo's own: -p NAME, --test NAME).
# Installs on Debian what is missing. Where rustup can add the target its standard library is used; elsewhere
# Debian's own compiler and standard library are.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
say() { printf 'test-arm: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
command -v qemu-aarch64-static >/dev/null || packages+=(qemu-user-static)
command -v aarch64-linux-gnu-gcc >/dev/null || packages+=(gcc-aarch64-linux-gnu)
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || packages+=(libc6-dev-arm64-cross)

# A standard library for the target: the toolchain's own, else rustup's, else Debian's.
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && ! rustup target add "$target" 2>/dev/null; then
  say "no standard library of this toolchain: using Debian's compiler"
  export RUSTC=/usr/bin/rustc
  # Debian's compiler must not share build products with the toolchain's.
  export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/debian"
  if ! [ -x "$RUSTC" ] || ! [ -d "/usr/lib/rustlib/$target/lib" ]; then
    packages+=(rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64)
    as_root dpkg --add-architecture arm64
  fi
fi
if [ "${#packages[@]}" -gt 0 ]; then
  say "installing ${packages[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# The linker and a static libc are set in .cargo/config.toml, which these would override.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

run() {
  say "$cpu: cargo test $*"
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu" \
    cargo test --quiet --locked --target "$target" "$@"
}

for cpu in cortex-a53 max; do
  if [ "$#" -gt 0 ]; then
    run "$@"
  else
    # No documentation examples: they are the same code, and cost a compilation each time.
    run --tests -p edgewen-layout -p edgewen-kernels
    run --test across_machines -p edgewen-engine
  fi
done
