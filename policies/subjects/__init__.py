"""What several rules look for in resources of different types: pods, network openings, IAM statements, engine launches."""
