"""Apps that tests run in processes of their own, so that they can be killed."""
