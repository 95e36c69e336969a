"""The command line. Every command imports what it needs when it runs, so that a command that only computes answers at once."""
