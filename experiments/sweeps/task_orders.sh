#!/usr/bin/env bash
# Orders of the tasks, random ones by the seed, for LoRA and MoELoRA; three seeds.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=moelora_llava experiment_name=sweep_task_orders method=moelora,lora scenario.order=coin,alphabetical,reversed,random seed=0,1,2 "$@"
