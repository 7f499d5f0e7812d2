#!/usr/bin/env bash
# The committed evidence: sequential LoRA and MoELoRA on CoIN-mini, three seeds each, from the default experiment.
# Finished runs are left alone and killed ones go on, so the script may be started again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
for seed in 0 1 2; do
  for method in moelora lora; do
    "$python" -m coin_lightning +experiment=moelora_llava method=$method seed=$seed "$@"
  done
done
"$python" experiments/results/collect.py runs/moelora_llava experiments/results/coin_mini
