"""The whole daemon on a virtual clock, against platforms in its own process: days in seconds, decided by one seed."""
