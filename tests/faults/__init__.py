"""The fault suite: real servers, real processes, real faults, and a checker that knows what must come out.

`make faults` (a few minutes), `make faults-long` (hours, resumable), `make recovery` (how long recovery takes).
"""
