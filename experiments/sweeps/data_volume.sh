#!/usr/bin/env bash
# Training samples per task, the same ones for every seed; three seeds.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=moelora_llava experiment_name=sweep_data_volume method=moelora,lora data.limit_train=20,40,80,160 seed=0,1,2 "$@"
