"""What was used: the front's records, summed up by hour, day or month, team and model."""
