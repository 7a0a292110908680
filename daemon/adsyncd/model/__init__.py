"""Values that packages share, and pure functions of them."""
