"""What the demo runs beside the daemon, so that all of adsyncd can be seen at work on one machine."""
