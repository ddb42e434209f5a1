"""Settings: what there is to set, where values come from, and the rules that they must keep.

`engine.py` has the settings of the engine and the orders of R20, `catalogue.py` every setting by the name that users write,
`sources.py` reads files, environment and arguments, `resolve.py` puts them over each other. `duration.py` and `secrecy.py` are
small and pure. May import: errors. Start reading at `resolve.py`.
"""

from streamkit.config.engine import EngineSettings
from streamkit.config.resolve import Settings, resolve

__all__ = ["EngineSettings", "Settings", "resolve"]
