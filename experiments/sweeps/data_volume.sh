#!/usr/bin/env bash
# Training samples of the tasks, the same ones for every seed; three seeds.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=moelora_llava experiment_name=sweep_data_volume method=moelora,lora data.fraction=0.03,0.06,0.12,0.24 seed=0,1,2 "$@"
