"""The same job in other hands: `JOB.md` says which, `job.py` holds what the Python ones share."""
