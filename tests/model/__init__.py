"""The exactly-once protocol under test: the real pipeline, twice, over one simulated Kafka and Redis.

`explorer.py` runs one schedule; a schedule is a tape of bytes that Hypothesis draws. Every port call is a point at
which the machine decides who goes on and what fails: see `faults.py`.
"""
