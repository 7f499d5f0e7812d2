#!/usr/bin/env bash
# The committed evidence on CoIN-mini, all from the default experiment: sequential LoRA and MoELoRA with three seeds and
# in two further orders, joint training, and each task alone with all its data.
# Finished runs are left alone and killed ones go on, so the script may be started again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
run() { "$python" -m coin_lightning +experiment=moelora_llava "$@"; }
for seed in 0 1 2; do
  for method in moelora lora; do run method=$method seed=$seed "$@"; done
done
for method in moelora lora; do
  for order in alphabetical reversed; do run method=$method scenario.order=$order "$@"; done
  run method=$method scenario.joint=true "$@"
  for task in scienceqa textvqa imagenet gqa vizwiz grounding vqav2 ocrvqa; do
    run method=$method "scenario.order=[$task]" "$@"
  done
done
"$python" experiments/results/collect.py runs/moelora_llava experiments/results/coin_mini
