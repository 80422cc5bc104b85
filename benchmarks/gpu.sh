#!/usr/bin/env bash
# What training and evaluation cost on a GPU, in one run of at most 8 minutes on a machine that has torch and no network.
#
#   bash benchmarks/gpu.sh pack            where there is a network: put the other packages into build/gpu-packages
#   bash benchmarks/gpu.sh run FOLDER      on the machine with the GPU: measure, and write the tables to FOLDER
#
# `run` takes the packages in build/gpu-packages where they are, beside the torch of the machine. BATCH, METHODS and STEPS
# are the pairs of a step, the methods to measure, and the steps of the run that is interrupted and resumed.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PACKAGES=build/gpu-packages
# The packages of the lock that the training imports; torch and what comes with it are the machine's own.
NEEDED='^(numpy|timm|torchvision|transformers|tokenizers|open-clip-torch|safetensors|pyarrow|huggingface-hub|hf-xet|pyyaml|tqdm|regex|filelock|fsspec|packaging|requests|ftfy|wcwidth|httpx|httpcore|h11|anyio|idna|certifi|sniffio|typer|click|pytest|iniconfig|pluggy|pygments|rich|shellingham|pillow)=='

pack() {
  mkdir -p "$PACKAGES"
  grep -E "$NEEDED" requirements.lock > "$PACKAGES/requirements.txt"
  "$PYTHON" -m pip install --disable-pip-version-check --no-deps --quiet --target "$PACKAGES" -r "$PACKAGES/requirements.txt"
  echo "$PACKAGES: $(du -sh "$PACKAGES" | cut -f1)"
}

run() {
  local out=$1 started=$SECONDS
  mkdir -p "$out"
  [ -d "$PACKAGES" ] && export PYTHONPATH="$PWD/$PACKAGES${PYTHONPATH:+:$PYTHONPATH}"
  # shellcheck disable=SC2086  # METHODS are several words
  measure "$out/methods.md" -m benchmarks.methods --batch "${BATCH:-32}" --repeats 5 ${METHODS:+--methods $METHODS}
  measure "$out/resume.md" -m benchmarks.exact_resume --steps "${STEPS:-6}" ${METHODS:+--methods $METHODS}
  measure "$out/step.md" -m benchmarks.step --batch "${STEP_BATCH:-256}"
  echo "All of it took $((SECONDS - started)) s; the tables are in $out."
}

# Run a benchmark and keep what it prints, also if a later one fails.
measure() {
  local file=$1
  shift
  { date -u +%F; "$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")'; } > "$file"
  "$PYTHON" "$@" | tee -a "$file"
}

case "${1:-}" in
  pack) pack ;;
  run) run "${2:?name the folder of the tables}" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
