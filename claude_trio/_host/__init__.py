"""The host server: how a CLI reaches the program that drives it, for hooks and for tools."""
