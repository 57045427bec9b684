"""The interface: types, cache managers and the process itself."""
