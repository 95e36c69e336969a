"""Set-up for a fresh machine: the engine, the lab's hosts."""
