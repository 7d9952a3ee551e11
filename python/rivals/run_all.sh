#!/usr/bin/env bash
# Makes the table of rivals from nothing: every tool, every text and seed, then
# the measurements. Finished candidates and measurements are skipped, so a run
# that was stopped goes on.
#
#   python/rivals/run_all.sh WORK results/2026-11-21-quality/rivals
#
# writes rivals.jsonl and rivals.md. AutoAWQ and llm-compressor want different
# versions of transformers: python/requirements-rivals.txt has both. Variables:
# PYTHON_AUTOAWQ and PYTHON_LLMCOMPRESSOR (interpreters of the two environments),
# LLAMA_SOURCE (llama.cpp's tree), LLAMA_BIN (with llama-quantize and
# llama-imatrix), EDGEWEN (the release binary); optional: MODELS, TEXTS, SEEDS,
# VARIANTS (names in run_edgewen.py).
set -euo pipefail
work=$1
output=$2
here=$(cd "$(dirname "$0")" && pwd)
read -ra texts <<<"${TEXTS:-tinystories tales wikitext}"
read -ra seeds <<<"${SEEDS:-0 1}"
read -ra models <<<"${MODELS:-babyllama361-qwen2-bias stories260k-qwen2 stories260k-qwen2-pad demo}"
read -ra variants <<<"${VARIANTS:-}"
choice=(--work "$work" --models "${models[@]}" --texts "${texts[@]}" --seeds "${seeds[@]}")
export OMP_NUM_THREADS=1
# Without this glibc returns and asks again for the same large blocks.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000

"$PYTHON_AUTOAWQ" "$here/run_rtn.py" --work "$work" --models "${models[@]}"
"$PYTHON_AUTOAWQ" "$here/run_llama_cpp.py" "${choice[@]}" \
    --source "$LLAMA_SOURCE" --bin "$LLAMA_BIN"
"$PYTHON_AUTOAWQ" "$here/run_edgewen.py" "${choice[@]}" --edgewen "$EDGEWEN" \
    ${variants[@]+--variants "${variants[@]}"}
"$PYTHON_AUTOAWQ" -W ignore "$here/run_autoawq.py" "${choice[@]}"
"$PYTHON_LLMCOMPRESSOR" -W ignore "$here/run_llmcompressor.py" "${choice[@]}"
"$PYTHON_AUTOAWQ" -W ignore "$here/measure.py" "${choice[@]}" --output "$output.jsonl"
"$PYTHON_AUTOAWQ" "$here/table.py" "$output.jsonl" >"$output.md"
