"""Replay as a back-test: were the alerts right, how early, and what would simpler means have done?"""
