"""The baked stack, booted, and spoken to from outside."""
