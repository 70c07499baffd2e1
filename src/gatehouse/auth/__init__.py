"""Who asks, what they may do, and with which secret."""
