"""Policies that tests read and write: the least one, and one that says everything."""

TIERS = """[[tiers]]
name = "at_risk"
threshold = 0.5
[[tiers]]
name = "critical"
threshold = "model"
"""
EVERYTHING = f"""
language = "zh"
grace_days = 3
cooldown_days = 2.5
min_target_events = 2
{TIERS}
[quiet_hours]
from = "21:30"
to = 08:00:00
timezone = "Asia/Shanghai"
[budget]
alerts_per_day = 40
[consent]
require = false
[control_group]
share = 0.2
salt = "spring"
[value]
horizon_days = 90
prior_spend = 35
prior_purchases = 5
[actions]
cap_days = 7
[actions.caps_days]
win_back_message = 30
"""
