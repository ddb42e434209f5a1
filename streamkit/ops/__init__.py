"""What operators of a service see: for now, its log. May import: runtime and everything below. Start reading at `logging.py`."""
