"""HIXL's Python module over this driver: scripts that were written for HIXL run as they are.

Without an NPU, device memory is whatever memory of this process an address names.
"""

from .hixl import *  # noqa: F401,F403
from .hixl import __all__  # noqa: F401
