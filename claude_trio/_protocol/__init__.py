"""The sans-I/O core: bytes and facts in, values out; nothing here opens, waits or reads a clock."""
