"""The whole daemon on a virtual clock against platforms in its own process: a seed decides days in seconds."""
