"""How fast decoding is, beside the machine's own limits and the published code."""
