"""A Docker engine for the container tests, and the images that they name.

Start reading in `engine.py`: an engine is found, or installed and started where that is allowed. `images.py` pulls public
images, and builds look-alikes where no registry can be reached; `compose.py` finds a Compose that understands our file.
"""
