"""The mock ad platform for development and tests: a process of its own, seeded, with settings for everything."""
