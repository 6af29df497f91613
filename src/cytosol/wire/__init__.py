"""The formats that travel: bytes in, typed values out, and a declared error for anything else."""
