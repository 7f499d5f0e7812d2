"""The sequence: scenario, position, run folder, driver."""
