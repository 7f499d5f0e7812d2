#!/usr/bin/env bash
# The committed evidence on CoIN-mini, all from the default experiment: sequential LoRA and MoELoRA with three seeds and
# in two further orders, joint training, and each task alone with all its data.
# Finished runs are left alone and killed ones go on, so the script may be started again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
declare -A rate=([moelora]=1e-3 [lora]=2.5e-4) # each method's own, see experiments/results/coin_mini/validation.md
run() { "$python" -m coin_lightning +experiment=moelora_llava method="$method" optimizer.lr="${rate[$method]}" "$@"; }
for seed in 0 1 2; do
  for method in moelora lora; do run seed=$seed "$@"; done
done
for method in moelora lora; do
  for order in alphabetical reversed; do run scenario.order=$order "$@"; done
  run scenario.joint=true "$@"
  for task in scienceqa textvqa imagenet gqa vizwiz grounding vqav2 ocrvqa; do
    run "scenario.order=[$task]" "$@"
  done
done
"$python" experiments/results/collect.py runs/moelora_llava experiments/results/coin_mini
