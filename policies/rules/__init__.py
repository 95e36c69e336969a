"""The rules, one a file. Each file holds `RULE`; its name is the rule's id with `_` for `-`."""
