"""What `tasks/verify.py` looks for in the rows and pictures of a task, one concern per file."""
