#!/usr/bin/env bash
# Prices the kernels of the forward pass for a Cortex-A53 and writes crates/accel/src/perf/data/processor-cycles.json
# (or the file in the argument): cross-builds the probe as the product is built, runs it under QEMU's record of
# executed blocks, and gives that to llvm-mca. Run it again when the kernels change. About three minutes.
# Installs on Debian what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

output=${1:-crates/accel/src/perf/data/processor-cycles.json}
target=aarch64-unknown-linux-gnu
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
command -v qemu-aarch64-static >/dev/null || packages+=(qemu-user-static)
command -v aarch64-linux-gnu-gcc >/dev/null || packages+=(gcc-aarch64-linux-gnu)
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || packages+=(libc6-dev-arm64-cross)
command -v llvm-mca >/dev/null || packages+=(llvm)
command -v python3 >/dev/null || packages+=(python3)
if [ "${#packages[@]}" -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || rustup target add "$target"

# Not position independent, so that the addresses of the record are those of the file.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static"
cargo build --quiet --release --locked --target "$target" -p edgewen-kernels --example processor_probe
binary=${CARGO_TARGET_DIR:-target}/$target/release/examples/processor_probe

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
qemu-aarch64-static -cpu cortex-a53 -d exec,nochain,in_asm -D "$scratch/trace" "$binary" >"$scratch/probes"
python3 tools/processor-cycles.py --binary "$binary" --trace "$scratch/trace" --probes "$scratch/probes" \
  --compiler "$(rustc --version)" --command tools/processor-cycles.sh --output "$scratch/cycles.json"
mkdir -p "$(dirname "$output")"
mv "$scratch/cycles.json" "$output"
