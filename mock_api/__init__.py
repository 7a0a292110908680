"""The ad platform to develop and test against: its own process, everything seeded and settable."""
