"""What `tasks/verify.py` looks for in the rows and images of a task, one concern per file."""
