"""Worked examples: each service is a package with an `app.py` that declares its pipeline. They use the public face only."""
