"""Pages, figures and dashboards made from the artefacts of a run; nothing here loads a model."""
