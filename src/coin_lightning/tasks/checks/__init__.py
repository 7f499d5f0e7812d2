"""What `tasks/verify.py` looks for in the samples and images of a task, one concern per file."""
