#!/usr/bin/env bash
# What the seed alone changes: five of LoRA and MoELoRA.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=moelora_llava experiment_name=sweep_seeds method=moelora,lora seed=0,1,2,3,4 "$@"
