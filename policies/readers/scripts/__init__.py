"""What machines and containers run as they start, and what that installs or starts."""
