"""A local Docker endpoint for a remote Docker daemon, over SSH."""

__version__ = "0.1.0"

__all__ = ["__version__"]
