"""A gate that knows its people, masked or not: camera in, relay out, nothing else."""

__version__ = "0.1.0"
