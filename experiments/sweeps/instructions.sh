#!/usr/bin/env bash
# CoIN's instruction types (Original, 10Type, Diverse) on LLaVA-1.5-7B; needs CoIN's data: add paths.coin=FOLDER backbone.path=FOLDER.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=coin/llava_7b_lora,coin/llava_7b_lora_10type,coin/llava_7b_lora_diverse seed=0,1,2 "$@"
